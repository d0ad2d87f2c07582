package rollouts

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/machines"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy/rollout"
	"castpoint/web/admin/deployments"
	"castpoint/web/call"
)

// runIDs says in every help how runs are named.
const runIDs = "RUN is the id of a run, or a device, whose last run is meant then."

// NewRun are the commands about runs.
func NewRun(o *cli.Options) *cobra.Command {
	return command.Group("run", "See what machines did in task sequences, and help them on",
		newRunList(o), newRunShow(o), newRunRetry(o), newRunCancel(o), newRunAnswer(o), newRunLog(o))
}

func runPath(id string, more ...string) string {
	return "/runs/" + url.PathEscape(id) + strings.Join(more, "")
}

func newRunList(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "list DEVICE", Short: "List all runs of a device, oldest first", Args: cobra.ExactArgs(1), Example: "  castpoint run list pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			list, err := call.List[rollout.Run](cmd.Context(), client, machines.DevicePath(args[0], "/runs"))
			if err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), list)
			}
			rows := [][]string{{"RUN", "SEQUENCE", "REVISION", "STATE", "STEP", "STARTED", "ENDED", "MESSAGE"}}
			for _, r := range list {
				rows = append(rows, []string{
					r.ID, r.Sequence, strconv.Itoa(r.Revision), runState(&r), fmt.Sprintf("%d of %d, %s", r.Step.Number, r.Total, r.Step.Name),
					terminal.When(r.Started), terminal.When(r.Ended), r.Message,
				})
			}
			return terminal.Table(cmd.OutOrStdout(), rows)
		},
	})
}

func runState(r *rollout.Run) string {
	if r.Late {
		return string(r.State) + ", nothing heard since " + terminal.When(r.Heard)
	}
	return string(r.State)
}

func newRunShow(o *cli.Options) *cobra.Command {
	var step string
	c := o.AddJSON(&cobra.Command{
		Use: "show RUN", Short: "Show a run: its steps, what they printed, and its logs", Args: cobra.ExactArgs(1), Long: "Show prints a run of a task sequence.\n\n" + runIDs,
		Example: "  castpoint run show pc-17\n  castpoint run show pc-17 --step 2/1",
		RunE: func(cmd *cobra.Command, args []string) error {
			var r deployments.RunDetails
			if err := o.Call(cmd.Context(), http.MethodGet, runPath(args[0]), nil, &r); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), r)
			}
			if step != "" {
				return printStep(cmd.OutOrStdout(), &r, step)
			}
			return printRun(cmd.OutOrStdout(), &r)
		},
	})
	c.Flags().StringVar(&step, "step", "", "path, number or name of the `STEP` that it is about, with all that is kept of what it printed")
	return c
}

// printStep prints one step, and what it printed.
func printStep(out io.Writer, r *deployments.RunDetails, text string) error {
	i := slices.IndexFunc(r.Steps, func(s rollout.StepRecord) bool { return s.Path == text || strings.EqualFold(s.Name, text) })
	if i < 0 {
		i = slices.IndexFunc(r.Steps, func(s rollout.StepRecord) bool { return strconv.Itoa(s.Number) == text })
	}
	if i < 0 {
		return command.Usage("run %s has come to no step %q: castpoint run show %s lists those that it has come to", r.ID, text, r.ID)
	}
	s := &r.Steps[i]
	rows := [][]string{{"step", fmt.Sprintf("%d (%s)", s.Number, s.Path)}, {"name", s.Name}, {"action", s.Kind}, {"state", s.State}, {"try", strconv.Itoa(s.Attempt)}, {"started", terminal.When(s.Started)}}
	if !s.Ended.IsZero() {
		rows = append(rows, []string{"ended", terminal.When(s.Ended)})
	}
	if s.ExitCode != nil {
		rows = append(rows, []string{"exit code", strconv.Itoa(*s.ExitCode)})
	}
	for _, more := range [][2]string{{"message", s.Message}, {"what to do", s.Advice}} {
		if more[1] != "" {
			rows = append(rows, []string{more[0], more[1]})
		}
	}
	if err := terminal.Table(out, rows); err != nil {
		return err
	}
	if s.Output != "" {
		fmt.Fprintf(out, "\nthe last that it printed:\n%s\n", strings.TrimRight(s.Output, "\n"))
	}
	return nil
}

func printRun(out io.Writer, r *deployments.RunDetails) error {
	rows := [][]string{
		{"run", r.ID}, {"device", r.Label + " (" + r.Device + ")"}, {"deployment", terminal.OrDash(r.DeploymentName)},
		{"sequence", fmt.Sprintf("%s, revision %d", r.Sequence, r.Revision)}, {"state", runState(&r.Run)}, {"started", terminal.When(r.Started)},
	}
	if !r.Ended.IsZero() {
		rows = append(rows, []string{"ended", terminal.When(r.Ended)})
	}
	for _, more := range [][2]string{{"environment", r.Environment}, {"message", r.Message}} {
		if more[1] != "" {
			rows = append(rows, []string{more[0], more[1]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Variables)) {
		value, _, more := strings.Cut(r.Variables[name], "\n")
		if more {
			value += " ..."
		}
		rows = append(rows, []string{"variable", name + "=" + value})
	}
	if r.Order != nil {
		rows = append(rows, []string{"order", strings.TrimSpace(r.Order.Kind + " " + r.Order.Path)})
	}
	rows = append(rows, []string{}, []string{"STEP", "NAME", "STATE", "TRY", "TOOK", "EXIT CODE", "MESSAGE"})
	for _, s := range r.Steps {
		took, code := "-", "-"
		if !s.Ended.IsZero() {
			took = s.Ended.Sub(s.Started).Round(time.Second).String()
		}
		if s.ExitCode != nil {
			code = strconv.Itoa(*s.ExitCode)
		}
		rows = append(rows, []string{fmt.Sprintf("%d (%s)", s.Number, s.Path), s.Name, s.State, strconv.Itoa(s.Attempt), took, code, s.Message})
	}
	if err := terminal.Table(out, rows); err != nil {
		return err
	}
	for _, s := range r.Steps {
		if s.State != "failed" {
			continue
		}
		if s.Advice != "" && (s.Output != "" || r.Step.Path == s.Path) {
			fmt.Fprintf(out, "\nstep %d: %s\n", s.Number, s.Advice)
		}
		if s.Output != "" {
			fmt.Fprintf(out, "\nthe last that step %d, %s, printed:\n%s\n", s.Number, s.Name, strings.TrimRight(s.Output, "\n"))
		}
	}
	if r.Questions != nil {
		for _, q := range r.Questions.Questions {
			line := "\nasks: " + q.Prompt + " (" + q.Variable
			if len(q.Choices) > 0 {
				line += ": " + strings.Join(q.Choices, ", ")
			}
			fmt.Fprintln(out, line+")")
		}
	}
	for _, l := range r.Logs {
		fmt.Fprintf(out, "log: castpoint run log %s %s (%d bytes)\n", r.ID, l.Name, l.Size)
	}
	return nil
}

func newRunRetry(o *cli.Options) *cobra.Command {
	var req deployments.RetryRun
	var variables []string
	c := o.AddJSON(&cobra.Command{
		Use: "retry RUN", Short: "Try a run again that has failed", Args: cobra.ExactArgs(1),
		Long: `Retry has a machine go on from the step that has failed, or from another one. It does within
seconds when it still waits, else at its next network boot.

` + runIDs,
		Example: "  castpoint run retry pc-17\n  castpoint run retry pc-17 --step 2/1 --variable Disk=1",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if req.Variables, err = assignments(variables); err != nil {
				return err
			}
			var r rollout.Run
			if err := o.Call(cmd.Context(), http.MethodPost, runPath(args[0], "/retry"), req, &r); err != nil {
				return err
			}
			return printOrder(o, cmd.OutOrStdout(), &r, "goes on from step "+r.Order.Path)
		},
	})
	c.Flags().StringVar(&req.Step, "step", "", "path, number or name of the `STEP` (default: the one that failed)")
	c.Flags().StringArrayVar(&variables, "variable", nil, "`NAME=VALUE`, set before; may be repeated")
	return c
}

func printOrder(o *cli.Options, out io.Writer, r *rollout.Run, what string) error {
	if o.JSON {
		return terminal.JSON(out, r)
	}
	_, err := fmt.Fprintf(out, "run %s of %s %s\n", r.ID, r.Label, what)
	return err
}

func newRunCancel(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "cancel RUN", Short: "Have a machine stop its run", Args: cobra.ExactArgs(1),
		Long: "Cancel stops a machine's run when it hears of it, at the latest between two steps.\n\n" + runIDs, Example: "  castpoint run cancel pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			var r rollout.Run
			if err := o.Call(cmd.Context(), http.MethodPost, runPath(args[0], "/cancel"), nil, &r); err != nil {
				return err
			}
			return printOrder(o, cmd.OutOrStdout(), &r, "stops")
		},
	})
}

func newRunAnswer(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "answer RUN NAME=VALUE...", Short: "Answer what a run asks", Args: cobra.MinimumNArgs(2),
		Long: "Answer gives the answers to an ask step; castpoint run show says what it asks.\n\n" + runIDs, Example: "  castpoint run answer pc-17 Role=kiosk",
		RunE: func(cmd *cobra.Command, args []string) error {
			answers, err := assignments(args[1:])
			if err != nil {
				return err
			}
			if err := o.Call(cmd.Context(), http.MethodPost, runPath(args[0], "/answers"), deployments.AnswerRun{Answers: answers}, nil); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"answered": args[0]})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "answered")
			return err
		},
	})
}

func newRunLog(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "log RUN NAME", Short: "Print a log that a machine has sent", Args: cobra.ExactArgs(2), Long: "Log prints a log; castpoint run show lists them.\n\n" + runIDs,
		Example: "  castpoint run log pc-17 sequence.log",
		RunE: func(cmd *cobra.Command, args []string) error {
			return fetchTo(o, cmd, runPath(args[0], "/logs/", url.PathEscape(args[1])))
		},
	}
}
