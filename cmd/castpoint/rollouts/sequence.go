package rollouts

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy/revision"
	"castpoint/deploy/sequence"
)

// NewSequence are the commands about task sequences.
func NewSequence(o *cli.Options) *cobra.Command {
	return command.Group("sequence", "Work with task sequences",
		newSequenceList(o), newSequenceShow(o), newSequenceAdd(o), newSequenceCheck(o), newSequenceTemplate(), newSequenceSchema(), newRemove(o, "sequence", "/sequences/", "Delete a task sequence"))
}

func newSequenceList(o *cli.Options) *cobra.Command {
	return cli.List[revision.SequenceInfo]{
		Short: "List task sequences", Example: "  castpoint sequence list",
		Path: "/sequences", Empty: "no sequences: castpoint sequence template prints one to begin with, castpoint sequence add takes it",
		Heads: []string{"NAME", "REVISION", "STEPS", "CHANGED", "BY", "DEPLOYMENTS", "DESCRIPTION"},
		Row: func(q revision.SequenceInfo) []string {
			return []string{q.Name, strconv.Itoa(q.Revision), strconv.Itoa(q.Steps), terminal.When(q.Changed), terminal.OrDash(q.By), terminal.OrDash(strings.Join(q.Deployments, ", ")), q.Description}
		},
	}.Command(o)
}

func newSequenceShow(o *cli.Options) *cobra.Command {
	var number int
	var text bool
	c := o.AddJSON(&cobra.Command{
		Use: "show NAME", Short: "Show a task sequence", Args: cobra.ExactArgs(1),
		Example: "  castpoint sequence show install-windows\n  castpoint sequence show install-windows --text > install-windows.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/sequences/" + url.PathEscape(args[0])
			if number > 0 {
				path += "?revision=" + strconv.Itoa(number)
			}
			var q revision.SequenceText
			if err := o.Call(cmd.Context(), http.MethodGet, path, nil, &q); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch {
			case o.JSON:
				return terminal.JSON(out, q)
			case text:
				_, err := io.WriteString(out, q.Text)
				return err
			}
			rows := [][]string{
				{"name", q.Name}, {"revision", revisions(&q)}, {"description", terminal.OrDash(q.Description)},
				{"changed", terminal.When(q.Changed) + " by " + terminal.OrDash(q.By)}, {"deployments", terminal.OrDash(strings.Join(q.Deployments, ", "))},
			}
			rows = append(append(rows, needs(q.Text)...), []string{})
			for _, l := range q.Leaves {
				name := strings.Join(append(l.Groups, l.Name), " / ")
				rows = append(rows, []string{fmt.Sprintf("%d (%s)", l.Number, l.Path), l.Kind, name})
			}
			if err := terminal.Table(out, rows); err != nil {
				return err
			}
			return printProblems(out, "", q.Problems)
		},
	})
	c.Flags().IntVar(&number, "revision", 0, "`N`: an earlier revision")
	c.Flags().BoolVar(&text, "text", false, "print its YAML as it was given")
	return c
}

// revisions says which revision is shown, and which there are beside it.
func revisions(q *revision.SequenceText) string {
	text := strconv.Itoa(q.Revision)
	var others []string
	for _, n := range q.Revisions {
		if n != q.Revision {
			others = append(others, strconv.Itoa(n))
		}
	}
	if len(others) > 0 {
		text += "; kept beside it: " + strings.Join(others, ", ")
	}
	return text
}

// needs says what a sequence has to be given: its variables and contents.
func needs(text string) (rows [][]string) {
	s, _ := sequence.Check([]byte(text))
	if s == nil {
		return nil // of a server that knows more than this program
	}
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		v := s.Variables[name]
		says := name
		if v.Value != "" {
			says += "=" + v.Value
		}
		var more []string
		if v.Required {
			more = append(more, "required")
		}
		if v.Secret {
			more = append(more, "secret")
		}
		if len(v.Choices) > 0 {
			more = append(more, "one of "+strings.Join(v.Choices, ", "))
		}
		if v.Description != "" {
			more = append(more, v.Description)
		}
		if len(more) > 0 {
			says += " (" + strings.Join(more, "; ") + ")"
		}
		rows = append(rows, []string{"variable", says})
	}
	names := s.ContentNames(func(string) (string, bool) { return "", false })
	for _, name := range names {
		rows = append(rows, []string{"content", name})
	}
	return rows
}

func printProblems(out io.Writer, file string, list []sequence.Problem) error {
	if file != "" {
		file += ": "
	}
	for _, p := range list {
		if _, err := fmt.Fprintf(out, "%s%s\n", file, p); err != nil {
			return err
		}
	}
	return nil
}

// readSequence reads a file, or standard input for "-".
func readSequence(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, sequence.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

func newSequenceAdd(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "add FILE.yaml", Short: "Add a task sequence, or a new revision of the one that has its name", Args: cobra.ExactArgs(1),
		Long: `Add reads a task sequence. The one that has its name gets a new revision: machines that
are in the middle of it go on with the one that they began with. "-" is standard input.`,
		Example: "  castpoint sequence add install-windows.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readSequence(cmd, args[0])
			if err != nil {
				return err
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var q revision.SequenceText
			if err := client.Send(cmd.Context(), "/sequences", "application/yaml", strings.NewReader(string(text)), &q); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, q)
			}
			if err := printProblems(cmd.ErrOrStderr(), args[0], q.Problems); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "sequence %s, revision %d, %d steps\n", q.Name, q.Revision, q.Steps)
			return err
		},
	})
}

func newSequenceCheck(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "check FILE.yaml...", Short: "Say what is wrong with task sequences", Args: cobra.MinimumNArgs(1),
		Long: `Check reads task sequences and says what is wrong with them, with the lines. Warnings are
about what may be meant. It needs no server. The exit code is 1 when one cannot be used,
3 when there are only warnings.`,
		Example: "  castpoint sequence check install-windows.yaml\n  castpoint sequence check *.yaml --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			type result struct {
				File     string             `json:"file"`
				Usable   bool               `json:"usable"`
				Problems []sequence.Problem `json:"problems"`
			}
			var all []result
			wrong, warned := 0, 0
			for _, name := range args {
				text, err := readSequence(cmd, name)
				if err != nil {
					return err
				}
				parsed, problems := sequence.Check(text)
				r := result{File: name, Usable: parsed != nil, Problems: append([]sequence.Problem{}, problems...)}
				for _, p := range problems {
					if !p.Warning {
						r.Usable = false
					}
				}
				switch {
				case !r.Usable:
					wrong++
				case len(problems) > 0:
					warned++
				}
				all = append(all, r)
				if !o.JSON {
					if err := printProblems(cmd.OutOrStdout(), name, problems); err != nil {
						return err
					}
				}
			}
			if o.JSON {
				if err := terminal.JSON(cmd.OutOrStdout(), all); err != nil {
					return err
				}
			}
			switch {
			case wrong > 0:
				return fmt.Errorf("%d of %d sequences cannot be used", wrong, len(args))
			case warned > 0:
				return cli.PartlyDone(fmt.Errorf("%d of %d sequences have warnings", warned, len(args)))
			case !o.JSON:
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is wrong")
				return err
			}
			return nil
		},
	})
}

func newSequenceTemplate() *cobra.Command {
	return &cobra.Command{
		Use: "template [NAME]", Short: "Print a task sequence to begin with, or list them", Args: cobra.MaximumNArgs(1),
		Example: "  castpoint sequence template\n  castpoint sequence template install-windows > install-windows.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, err := sequence.Template(args[0])
				if err != nil {
					return command.Usage("%w", err)
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			var rows [][]string
			for _, name := range sequence.Templates() {
				text, err := sequence.Template(name)
				if err != nil {
					return err
				}
				s, err := sequence.Parse(text)
				if err != nil {
					return err
				}
				rows = append(rows, []string{name, s.Description})
			}
			return terminal.Table(cmd.OutOrStdout(), rows)
		},
	}
}

func newSequenceSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of task sequences, for editors", Args: cobra.NoArgs,
		Example: "  castpoint sequence schema > sequence.schema.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := sequence.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}
