package machines

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/event"
	"castpoint/internal/store"
)

func newDeviceTimeline(o *cli.Options) *cobra.Command {
	var follow bool
	var kinds []string
	var limit int
	c := o.AddJSON(&cobra.Command{
		Use: "timeline [ID]", Short: "Show what happened to a device, from its first packet on", Args: cobra.MaximumNArgs(1),
		Long: `Timeline prints the events of a device, oldest first: what it asked by DHCP and what was
answered or why nothing was, what it fetched, the stages of its boot, sessions it was
a member of, errors, and what people did to its record. Lines that begin with "!" may
need somebody. Without ID it is the timeline of all machines.

` + deviceIDs + ` A machine that is not on record is named by its whole MAC or UUID.`,
		Example: "  castpoint device timeline pc-17\n  castpoint device timeline 52:54:00:12:34:56 --follow\n  castpoint device timeline --kind dhcp --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, k := range kinds {
				if !slices.Contains(event.Kinds(), event.Kind(k)) {
					return command.Usage("kind %q: want one of %v", k, event.Kinds())
				}
			}
			v := url.Values{"kind": kinds}
			path := "/timeline"
			if follow {
				path = "/events"
			}
			if len(args) == 1 {
				path = DevicePath(args[0], path)
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			out := cmd.OutOrStdout()
			if follow {
				ctx, stop := command.Interrupted(cmd.Context())
				defer stop()
				v.Set("last", strconv.Itoa(limit))
				err := client.Follow(ctx, path+"?"+v.Encode(), func(data []byte) error {
					var e event.Event
					if err := json.Unmarshal(data, &e); err != nil {
						return fmt.Errorf("answer of the server: %w", err)
					}
					if o.JSON {
						return json.NewEncoder(out).Encode(e)
					}
					return printEvent(out, &e, len(args) == 0)
				})
				if ctx.Err() != nil {
					return nil // the person has seen enough
				}
				return err
			}
			v.Set("limit", strconv.Itoa(limit))
			var p event.Page
			if err := client.Call(cmd.Context(), http.MethodGet, path+"?"+v.Encode(), nil, &p); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(out, p.Events)
			}
			if len(p.Events) == 0 {
				_, err := fmt.Fprintln(out, "nothing has happened yet")
				return err
			}
			if p.Before != 0 {
				fmt.Fprintf(out, "(older events are left out: --limit shows more than %d)\n", len(p.Events))
			}
			for i := range p.Events {
				if err := printEvent(out, &p.Events[i], len(args) == 0); err != nil {
					return err
				}
			}
			return nil
		},
	})
	f := c.Flags()
	f.BoolVar(&follow, "follow", false, "go on with what happens, until it is interrupted")
	f.StringSliceVar(&kinds, "kind", nil, "only events of a `KIND`: dhcp, tftp, http, boot, join, progress, step, error or record; may be repeated")
	f.IntVar(&limit, "limit", store.DefaultLimit, "the last `N` events")
	return c
}

// printEvent writes one line; with who it says of which machine.
func printEvent(out io.Writer, e *event.Event, who bool) error {
	mark, machine := " ", ""
	if e.Trouble {
		mark = "!"
	}
	if who {
		machine = e.MAC
		if machine == "" {
			machine = terminal.OrDash(e.UUID)
		}
		machine = fmt.Sprintf("%-17s  ", machine)
	}
	_, err := fmt.Fprintf(out, "%s %s  %s%-8s  %s\n", mark, e.Time.Local().Format(time.DateTime+".000"), machine, e.Kind, e.Message)
	return err
}
