package sessions

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/config"
	"castpoint/web/admin/sessions"
	"castpoint/web/session"
)

// NewSession are the commands about sessions.
func NewSession(o *cli.Options) *cobra.Command {
	return command.Group("session", "Work with multicast sessions of the running server",
		newList(o), newShow(o), newStart(o), newCancel(o), newKick(o))
}

func newList(o *cli.Options) *cobra.Command {
	return cli.List[session.Info]{
		Short: "List sessions, those that have ended last", Example: "  castpoint session list",
		Path: "/sessions", Empty: "no sessions: one begins when the first receiver joins",
		Heads: []string{"ID", "CONTENT", "STATE", "GROUP", "MEMBERS", "DONE", "RATE", "SENT", "REPAIR"},
		Row: func(s session.Info) []string {
			done := 0
			for _, m := range s.Members {
				if m.State == "done" {
					done++
				}
			}
			return []string{
				s.ID, s.Content, s.State, s.Group, strconv.Itoa(len(s.Members)), strconv.Itoa(done),
				agent.Rate(s.Rate), agent.Size(int64(s.Sent)), repairShare(s),
			}
		},
	}.Command(o)
}

// repairShare is how much of what was sent was repair.
func repairShare(s session.Info) string {
	if s.Sent == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(s.Repair)/float64(s.Sent))
}

func newShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show ID", Short: "Show a session and its members", Args: cobra.ExactArgs(1),
		Long:    "Show prints a session by its id, or the latest session of a content by the content's id.",
		Example: "  castpoint session show 4f1a09c2\n  castpoint session show win11 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var s session.Info
			if err := o.Call(cmd.Context(), http.MethodGet, "/sessions/"+url.PathEscape(args[0]), nil, &s); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), s)
			}
			return printSession(cmd.OutOrStdout(), s)
		},
	})
}

func printSession(out io.Writer, s session.Info) error {
	rows := [][]string{{"session", s.ID}, {"content", s.Content + ": " + s.Name}}
	for _, id := range s.Also {
		rows = append(rows, []string{"and", id})
	}
	rows = append(rows,
		[]string{"state", s.State}, []string{"group", s.Group},
		[]string{"size", fmt.Sprintf("%s in %d blocks", agent.Size(s.Size), s.Blocks)},
		[]string{"sent", fmt.Sprintf("%s, %s of it repair", agent.Size(int64(s.Sent)), repairShare(s))},
		[]string{"rate", agent.Rate(s.Rate)},
	)
	for _, i := range s.Injectors {
		rows = append(rows, []string{"injected", injectedFrom(&i)})
	}
	if s.State == "waiting" {
		wait := "the first member"
		if s.WaitFor > 1 {
			wait = fmt.Sprintf("%d members, %d are here", s.WaitFor, len(s.Members))
		}
		if s.StartsIn > 0 {
			wait += fmt.Sprintf(", or %.0f s more", s.StartsIn)
		}
		rows = append(rows, []string{"waits for", wait})
	}
	if err := terminal.Table(out, rows); err != nil {
		return err
	}
	if len(s.Members) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	rows = [][]string{{"MEMBER", "NAME", "STATE", "BLOCKS", "LOSS", "TIME", "REPAIRED", "UNICAST", "REASON"}}
	for _, m := range s.Members {
		rows = append(rows, []string{
			strconv.FormatUint(uint64(m.ID), 10), m.Name, string(m.State), fmt.Sprintf("%d/%d", m.Complete, s.Blocks),
			fmt.Sprintf("%.1f%%", 100*m.Loss), (time.Duration(m.Seconds * float64(time.Second))).Round(100 * time.Millisecond).String(),
			strconv.Itoa(m.Repaired), strconv.Itoa(m.Unicast), terminal.OrDash(m.Reason),
		})
	}
	return terminal.Table(out, rows)
}

// injectedFrom says who sends into a session beside the server, as members say.
func injectedFrom(i *session.Injector) string {
	text := "from " + i.Address.String()
	if len(i.Members) > 0 {
		text += " (" + strings.Join(i.Members, ", ") + ")"
	}
	said := "a member says"
	if i.Reports != 1 {
		said = fmt.Sprintf("%d members say", i.Reports)
	}
	return text + " since " + i.Since.Local().Format(time.TimeOnly) + ", " + said
}

func newStart(o *cli.Options) *cobra.Command {
	var req sessions.StartSession
	var rate, least config.Rate
	var delay, open time.Duration
	var at string
	c := o.AddJSON(&cobra.Command{
		Use: "start CONTENT [CONTENT...]", Short: "Open a session with its own start rule, or start a waiting one",
		Long: `Start opens a session before its first receiver joins, with a start rule of its own:
it waits for so many members, or so long after the first, or until a time. With
--now it starts a session that is waiting, with the members it has.

A session may carry several contents, as an OS image and its drivers. They are sent in
the order in which they are named here, and each receiver takes the one it has a token
for. All receivers could read all of them: name only such as every one of them may have.`,
		Example: `  castpoint session start win11 --min-clients 20 --delay 2m --rate 400mbit
  castpoint session start win11 --min-clients 200 --at 02:30
  castpoint session start win11 drivers-latitude --delay 1m
  castpoint session start win11 --now`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Content, req.Also, req.Rate, req.MinRate = args[0], args[1:], int64(rate), int64(least)
			var err error
			if req.At, err = parseStart(at, time.Now()); err != nil {
				return err
			}
			req.Delay, req.Open = int(delay/time.Second), int(open/time.Second)
			var s session.Info
			if err := o.Call(cmd.Context(), http.MethodPost, "/sessions", req, &s); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), s)
			}
			return printSession(cmd.OutOrStdout(), s)
		},
	})
	f := c.Flags()
	f.IntVar(&req.MinMembers, "min-clients", 0, "start when `N` members have joined")
	f.DurationVar(&delay, "delay", 0, "start so long after the first member, however many there are")
	f.StringVar(&at, "at", "", "start then, however many there are: `TIME` as in 02:30 or \"2026-12-24 02:30\", of this machine's clock")
	f.IntVar(&req.MaxMembers, "max-clients", 0, "give it at most `N` members; more get a session of their own (default: the server's)")
	f.Var(&least, "min-rate", "`RATE` that it does not go below; who cannot take it goes on by unicast (default: the server's)")
	f.Var(&rate, "rate", "`RATE` that it does not exceed, as in 400mbit (default: the server's)")
	f.DurationVar(&open, "open", 15*time.Minute, "how long to wait for the first member")
	f.BoolVar(&req.Now, "now", false, "start a waiting session at once")
	return c
}

// parseStart reads a time of day, the next one there is, or a date and a time.
func parseStart(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return time.Time{}, command.Usage("--at %q: want a time as in 02:30, or a date and a time as in \"2026-12-24 02:30\"", s)
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at, nil
}

func newCancel(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "End a session", Args: cobra.ExactArgs(1),
		Long: `Cancel ends a session, and takes the tickets of its members away: they stop, and keep what
they have. Others may open a new session of the content with new tokens.`,
		Example: "  castpoint session cancel 4f1a09c2",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Call(cmd.Context(), http.MethodDelete, "/sessions/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ended session %s\n", args[0])
			return err
		},
	}
}

func newKick(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "kick ID MEMBER", Short: "Remove a member from a session", Args: cobra.ExactArgs(2),
		Long: `Kick ends a member of a session, by number or by name, and takes its ticket away. The
session's key changes, so the member cannot read what is sent from then on.`,
		Example: "  castpoint session kick 4f1a09c2 pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := strings.Join([]string{"/sessions", url.PathEscape(args[0]), "members", url.PathEscape(args[1])}, "/")
			if err := o.Call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "removed %s from session %s\n", args[1], args[0])
			return err
		},
	}
}
