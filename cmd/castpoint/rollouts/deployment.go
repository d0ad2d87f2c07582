package rollouts

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/web/admin/deployments"
)

// NewDeployment are the commands about deployments.
func NewDeployment(o *cli.Options) *cobra.Command {
	return command.Group("deployment", "Deploy task sequences to collections, and see how far they are",
		newDeploymentList(o), newDeploymentShow(o), newDeploymentAdd(o), newDeploymentSet(o), newDeploymentAgain(o), newDeploymentReport(o),
		newRemove(o, "deployment", "/deployments/", "Delete a deployment with the history of its runs"))
}

func newDeploymentList(o *cli.Options) *cobra.Command {
	return cli.List[deployments.DeploymentItem]{
		Short: "List deployments, and how far they are", Example: "  castpoint deployment list",
		Path: "/deployments", Empty: "no deployments: castpoint deployment add makes one",
		Heads: []string{"ID", "NAME", "SEQUENCE", "COLLECTION", "PURPOSE", "TARGETS", "WAITING", "RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN"},
		Row: func(d deployments.DeploymentItem) []string {
			purpose := string(d.Purpose)
			if d.Disabled {
				purpose += ", disabled"
			}
			c := d.Counts
			row := []string{d.ID, d.Name, d.Sequence, terminal.OrDash(d.CollectionName), purpose}
			for _, n := range []int{c.Targets, c.Waiting, c.Running, c.Succeeded, c.Failed, c.Unknown} {
				row = append(row, strconv.Itoa(n))
			}
			return row
		},
	}.Command(o)
}

func newDeploymentShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show ID", Short: "Show a deployment, how far it is, and each of its devices", Args: cobra.ExactArgs(1),
		Example: "  castpoint deployment show lab\n  castpoint deployment show lab --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var s deployments.DeploymentStatus
			path := "/deployments/" + url.PathEscape(args[0])
			for next := path; next != ""; {
				var part deployments.DeploymentStatus
				if err := client.Call(cmd.Context(), http.MethodGet, next, nil, &part); err != nil {
					return err
				}
				if next = ""; part.Next != "" {
					next = path + "?after=" + url.QueryEscape(part.Next)
				}
				part.Targets, part.Next = append(s.Targets, part.Targets...), ""
				s = part
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, s)
			}
			if err := printDeployment(out, &s.Deployment, s.CollectionName); err != nil {
				return err
			}
			return printStatus(out, &s)
		},
	})
}

// printChanged prints a deployment that was made or changed.
func printChanged(cmd *cobra.Command, o *cli.Options, d *rollout.Deployment) error {
	var c collection.Collection
	if err := o.Call(cmd.Context(), http.MethodGet, "/collections/"+url.PathEscape(d.Collection), nil, &c); err != nil {
		return err
	}
	return printDeployment(cmd.OutOrStdout(), d, c.Name)
}

func printDeployment(out io.Writer, d *rollout.Deployment, collection string) error {
	size := strconv.Itoa(d.MaxSize)
	if d.ConfirmedSize > 0 {
		size += fmt.Sprintf("; %d are confirmed", d.ConfirmedSize)
	}
	rows := [][]string{{"id", d.ID}, {"name", d.Name}, {"sequence", d.Sequence}, {"collection", strings.TrimSpace(collection + " (" + d.Collection + ")")}, {"purpose", string(d.Purpose)}, {"runs again", string(d.Rerun)}}
	add := func(name, value string, given bool) {
		if given {
			rows = append(rows, []string{name, value})
		}
	}
	add("notes", d.Notes, d.Notes != "")
	add("disabled", "yes: no runs begin", d.Disabled)
	add("network only", "yes", d.NetworkOnly)
	add("hidden", "yes: devices name it by the variable "+rollout.PreferredDeployment, d.Hidden)
	add("starts", terminal.When(d.Start), !d.Start.IsZero())
	add("ends", terminal.When(d.End), !d.End.IsZero())
	add("hours", d.Hours, d.Hours != "")
	add("confirmation", "somebody at the machine says yes", d.Confirm)
	add("password", "somebody at the machine types it", d.Password)
	add("maximum size", size, d.Purpose == rollout.Required)
	add("Wake-on-LAN", "before it starts", d.Wake)
	add("after", d.After, d.After != "")
	add("alert", fmt.Sprintf("below %d%% success, after %d devices", d.AlertBelow, d.AlertAfter), d.AlertBelow > 0)
	return terminal.Table(out, rows)
}

func printStatus(out io.Writer, s *deployments.DeploymentStatus) error {
	c := s.Counts
	line := fmt.Sprintf("\n%d devices, %.0f%% done: %d waiting, %d running, %d succeeded, %d failed, %d cancelled, %d unknown",
		c.Targets, c.Percent, c.Waiting, c.Running, c.Succeeded, c.Failed, c.Cancelled, c.Unknown)
	if c.Succeeded+c.Failed > 0 {
		line += fmt.Sprintf("; %.0f%% of those that have ended succeeded", c.SuccessRate)
	}
	if c.Protected > 0 {
		line += fmt.Sprintf("; %d protected ones are left alone", c.Protected)
	}
	if c.Untold > 0 {
		line += fmt.Sprintf("; %d more may fit when they have reported what they are", c.Untold)
	}
	fmt.Fprintln(out, line)
	for _, w := range s.Warnings {
		fmt.Fprintln(out, "warning:", w)
	}
	for _, f := range c.FailedBy {
		fmt.Fprintf(out, "failed in step %d, %s: %d\n", f.Number, f.Name, f.Count)
	}
	rows := [][]string{{}, {"DEVICE", "STATE", "STEP", "PERCENT", "HEARD", "MESSAGE"}}
	for _, t := range s.Targets {
		step, heard, message := "-", "never", ""
		if r := t.Run; r != nil {
			if r.Step.Number > 0 {
				step = fmt.Sprintf("%d of %d, %s", r.Step.Number, r.Total, r.Step.Name)
			}
			if heard, message = terminal.When(r.Heard), r.Message; message == "" {
				message = r.Step.Message
			}
			if r.Questions != nil {
				message = "asks: " + r.Questions.Questions[0].Prompt
			}
		}
		if why := t.Refused; why != nil && (t.Run == nil || why.Time.After(t.Run.Heard)) {
			message = "did not begin at " + terminal.When(why.Time) + ": " + why.Text
		}
		state := t.State
		if t.Again {
			state += ", again at its next network boot"
		}
		rows = append(rows, []string{t.Label, state, step, fmt.Sprintf("%.0f%%", t.Percent), heard, message})
	}
	return terminal.Table(out, rows)
}

// deploymentFlags are what people set of a deployment.
type deploymentFlags struct {
	name, notes, sequence, purpose, start, end, hours, rerun, passwordFile, after string
	disabled, networkOnly, hidden, confirm, wake                                  bool
	maxSize, confirmSize, alertBelow, alertAfter                                  int
}

func (f *deploymentFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.notes, "notes", "", "`TEXT` for people; shown at the machine where there is a choice")
	s.StringVar(&f.purpose, "purpose", "", "required: machines begin it by themselves; available: somebody at the machine does (default)")
	s.StringVar(&f.start, "start", "", "`TIME` before which nothing begins, as in 2026-03-02T22:00 or +2h; '' for none")
	s.StringVar(&f.end, "end", "", "`TIME` after which nothing begins")
	s.StringVar(&f.hours, "hours", "", "`FROM-TO`: the hours in which runs begin, as in 22:00-05:00")
	s.StringVar(&f.rerun, "rerun", "", "never (default of required ones), if-failed, if-succeeded or always")
	s.BoolVar(&f.disabled, "disabled", false, "no runs begin; those that have begun go on")
	s.BoolVar(&f.networkOnly, "network-only", false, "only for machines that have booted from the network")
	s.BoolVar(&f.hidden, "hidden", false, "only for devices whose variable "+rollout.PreferredDeployment+" names it")
	s.BoolVar(&f.confirm, "confirm", false, "somebody at the machine has to say yes")
	s.StringVar(&f.passwordFile, "password-file", "", "`FILE` with a password that has to be typed at the machine; '' for none")
	s.IntVar(&f.maxSize, "max-size", 0, "`N` devices that a required deployment may be for without --confirm-size (default 100)")
	s.IntVar(&f.confirmSize, "confirm-size", 0, "`N` devices are meant, when it is required")
	s.BoolVar(&f.wake, "wake", false, "wake devices (Wake-on-LAN) before a required start")
	s.StringVar(&f.after, "after", "", "what machines do at the end: poweroff, reboot or wait")
	s.IntVar(&f.alertBelow, "alert-below", 0, "`PERCENT` of success below which people are told")
	s.IntVar(&f.alertAfter, "alert-after", 0, "once so many `DEVICES` have ended (default 1)")
}

// request is what the flags that were given say.
func (f *deploymentFlags) request(cmd *cobra.Command) (deployments.SetDeployment, error) {
	req := deployments.SetDeployment{ConfirmSize: f.confirmSize}
	given := cmd.Flags().Changed
	for name, set := range map[string]func() error{
		"name":          func() error { req.Rename = &f.name; return nil },
		"notes":         func() error { req.Notes = &f.notes; return nil },
		"sequence":      func() error { req.NewSequence = &f.sequence; return nil },
		"purpose":       func() error { p := rollout.Purpose(f.purpose); req.Purpose = &p; return nil },
		"rerun":         func() error { r := rollout.Rerun(f.rerun); req.Rerun = &r; return nil },
		"start":         func() (err error) { req.Start, err = parseTime(f.start); return err },
		"end":           func() (err error) { req.End, err = parseTime(f.end); return err },
		"hours":         func() error { req.Hours = &f.hours; return nil },
		"disabled":      func() error { req.Disabled = &f.disabled; return nil },
		"network-only":  func() error { req.NetworkOnly = &f.networkOnly; return nil },
		"hidden":        func() error { req.Hidden = &f.hidden; return nil },
		"confirm":       func() error { req.Confirm = &f.confirm; return nil },
		"wake":          func() error { req.Wake = &f.wake; return nil },
		"after":         func() error { req.After = &f.after; return nil },
		"max-size":      func() error { req.MaxSize = &f.maxSize; return nil },
		"alert-below":   func() error { req.AlertBelow = &f.alertBelow; return nil },
		"alert-after":   func() error { req.AlertAfter = &f.alertAfter; return nil },
		"password-file": func() (err error) { req.Password, err = readPasswordFile(f.passwordFile); return err },
	} {
		if given(name) {
			if err := set(); err != nil {
				return req, err
			}
		}
	}
	return req, nil
}

// parseTime reads a time of this host's clock, or one from now on.
func parseTime(text string) (*time.Time, error) {
	var t time.Time
	if text == "" {
		return &t, nil
	}
	if after, ok := strings.CutPrefix(text, "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil {
			return nil, command.Usage("time %q: want +DURATION, as in +2h", text)
		}
		t = time.Now().Add(d).UTC().Truncate(time.Second)
		return &t, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			t = at.UTC()
			return &t, nil
		}
	}
	return nil, command.Usage("time %q: want one as in 2026-03-02T22:00, or +2h", text)
}

func readPasswordFile(name string) (*string, error) {
	text := ""
	if name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if text = strings.TrimRight(string(b), "\r\n"); text == "" {
			return nil, command.Usage("file %s has no password in it", name)
		}
	}
	return &text, nil
}

func newDeploymentAdd(o *cli.Options) *cobra.Command {
	var f deploymentFlags
	var collection string
	c := o.AddJSON(&cobra.Command{
		Use: "add NAME", Short: "Deploy a task sequence to a collection", Args: cobra.ExactArgs(1),
		Long: `Add deploys a task sequence to the devices of a collection. A required deployment begins at
a machine's next network boot, without a question; an available one when somebody there
presses a key. Protected devices are left alone, whatever collection they are in.`,
		Example: "  castpoint deployment add lab --sequence install-windows --collection lab --purpose required --start 2026-03-02T22:00 --wake\n" +
			"  castpoint deployment add desk --sequence install-windows --collection office --confirm",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.sequence == "" || collection == "" {
				return command.Usage("say what is deployed to whom: --sequence NAME --collection ID")
			}
			set, err := f.request(cmd)
			if err != nil {
				return err
			}
			set.NewSequence = nil
			var d rollout.Deployment
			req := deployments.AddDeployment{Name: args[0], Sequence: f.sequence, Collection: collection, SetDeployment: set}
			if err := o.Call(cmd.Context(), http.MethodPost, "/deployments", req, &d); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), d)
			}
			return printChanged(cmd, o, &d)
		},
	})
	c.Flags().StringVar(&f.sequence, "sequence", "", "`NAME` of the task sequence")
	c.Flags().StringVar(&collection, "collection", "", "`ID` of the collection")
	f.add(c)
	return c
}

func newDeploymentSet(o *cli.Options) *cobra.Command {
	var f deploymentFlags
	c := o.AddJSON(&cobra.Command{
		Use: "set ID", Short: "Change a deployment", Args: cobra.ExactArgs(1),
		Long: "Set changes what the flags name and leaves the rest. Runs that have begun go on.", Example: "  castpoint deployment set lab --disabled\n  castpoint deployment set lab --purpose required --confirm-size 240",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().NFlag() == 0 {
				return command.Usage("say what to change: castpoint deployment set --help lists it")
			}
			req, err := f.request(cmd)
			if err != nil {
				return err
			}
			var d rollout.Deployment
			if err := o.Call(cmd.Context(), http.MethodPatch, "/deployments/"+url.PathEscape(args[0]), req, &d); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), d)
			}
			return printChanged(cmd, o, &d)
		},
	})
	c.Flags().StringVar(&f.name, "name", "", "another `NAME`")
	c.Flags().StringVar(&f.sequence, "sequence", "", "`NAME` of another task sequence")
	f.add(c)
	return c
}

func newDeploymentAgain(o *cli.Options) *cobra.Command {
	var req deployments.DeployAgain
	c := o.AddJSON(&cobra.Command{
		Use: "again ID", Short: "Have a deployment run once more on devices", Args: cobra.ExactArgs(1),
		Long:    "Again has a deployment run once more at the next network boot of devices that have run it.",
		Example: "  castpoint deployment again lab --device pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(req.Devices) == 0 {
				return command.Usage("say on which devices: --device ID")
			}
			var names deployments.Names
			if err := o.Call(cmd.Context(), http.MethodPost, "/deployments/"+url.PathEscape(args[0])+"/again", req, &names); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), names.Items)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "deployment %s runs again on %s at their next network boot\n", args[0], strings.Join(names.Items, ", "))
			return err
		},
	})
	c.Flags().StringSliceVar(&req.Devices, "device", nil, "`ID` of a device; may be repeated")
	return c
}

func newDeploymentReport(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "report ID", Short: "Print the devices of a deployment as a table (CSV)", Args: cobra.ExactArgs(1),
		Example: "  castpoint deployment report lab > lab.csv",
		RunE: func(cmd *cobra.Command, args []string) error {
			return fetchTo(o, cmd, "/deployments/"+url.PathEscape(args[0])+"/report")
		},
	}
}

// fetchTo prints an answer that is no JSON.
func fetchTo(o *cli.Options, cmd *cobra.Command, path string) error {
	client, done, err := o.Admin(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	return client.Fetch(cmd.Context(), path, cmd.OutOrStdout())
}
