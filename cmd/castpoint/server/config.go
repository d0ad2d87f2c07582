package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/point/logging"
	"castpoint/point/settings"
)

// NewConfig are the commands about settings.
func NewConfig(o *cli.Options) *cobra.Command {
	return command.Group("config", "Work with the settings of castpoint serve", newConfigExample(), newConfigCheck(o), newConfigShow(o))
}

// chapters are the settings before which the example has a heading.
func chapters() map[string]string {
	return map[string]string{
		"data": "Server", "dhcp": "DHCP", "devices-unknown": "Devices and their timelines", "tftp": "TFTP", "http": "Boot HTTP",
		"join": "Receivers, the admin API and the console", "loaders": "What machines boot", "validate-every": "Library",
		"assign": "What machines receive", "rate": "Sessions", "log-level": "Log",
	}
}

func newConfigExample() *cobra.Command {
	return &cobra.Command{
		Use: "example", Short: "Print a file with all settings", Args: cobra.NoArgs,
		Long: `Example prints a file of settings that has all of them behind comment signs, with their
meanings and defaults. Times are as in 30s, 5m or 12h, rates as in 900mbit, in
bits per second.`,
		Example: "  castpoint config example > /etc/castpoint/castpoint.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeExample(cmd.OutOrStdout()) },
	}
}

func writeExample(out io.Writer) error {
	headings := chapters()
	text := "# Settings of castpoint serve. The lines that begin with # and no space are the defaults:\n# take the # away to change one.\n#\n" +
		"# Times are as in 90s, 5m or 12h; rates are bits per second, as in 900mbit or 1gbit; sizes are as in\n# 500MB or 20GiB. 0 and \"\" take the default that is named.\n#\n" +
		"# castpoint config check looks for mistakes, castpoint reload makes a server read the file again.\n"
	for _, f := range settings.Documented() {
		if h, ok := headings[f.Name]; ok {
			text += "\n# --- " + h + " ---\n"
		}
		text += "\n"
		for _, line := range wrap(settings.Meaning(f), 100) {
			text += "# " + line + "\n"
		}
		text += "#" + f.Name + ": " + exampleValue(f) + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

// exampleValue is a default in YAML.
func exampleValue(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		var quoted []string
		for _, s := range list.GetSlice() {
			quoted = append(quoted, strconv.Quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	defaults := config.Default()
	text, _ := defaults.Text(f.Name)
	if f.Value.Type() == "string" {
		return strconv.Quote(text[0])
	}
	return text[0]
}

// wrap breaks a text into lines of at most so many bytes where words allow it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

func newConfigCheck(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "check [FILE]", Short: "Look for mistakes in a file of settings", Args: cobra.MaximumNArgs(1),
		Long: `Check reads a file of settings as castpoint serve does, and says what is wrong with it.
Without FILE it is ` + config.DefaultPath + `.

Exit codes: 0 the file is good, 2 it is not, 4 it is not there.`,
		Example: "  castpoint config check\n  castpoint config check new.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			path := config.DefaultPath
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := config.Load(path)
			if errors.Is(err, fs.ErrNotExist) {
				return err
			}
			var lines map[string]int
			if err == nil {
				lines, err = config.Lines(path)
			}
			if err == nil {
				err = cfg.Validate()
				if err == nil {
					_, _, err = logging.New(cfg, io.Discard)
				}
				if err != nil {
					if _, there := lines[config.Subject(err)]; there {
						err = config.InFile(path, lines, err)
					} else {
						err = fmt.Errorf("settings %s: %w", path, err)
					}
				}
			}
			if err != nil {
				return command.Usage("%w", err)
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"file": path, "settings": len(lines)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d settings\n", path, len(lines))
			return err
		},
	})
}

func newConfigShow(o *cli.Options) *cobra.Command {
	var path string
	var all bool
	c := o.AddJSON(&cobra.Command{
		Use: "show", Short: "Show the settings, and where each comes from", Args: cobra.NoArgs,
		Long: `Show prints the settings of the running server that are not the default, and where each
comes from: the file, with the line, or a flag of castpoint serve. Without a server it
reads the file.`,
		Example: "  castpoint config show\n  castpoint config show --all\n  castpoint config show --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var got point.SettingsList
			if err := o.CallWith(cmd.Context(), point.LocalSettings(path), http.MethodGet, "/settings", nil, &got); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, got)
			}
			rows := [][]string{{"SETTING", "VALUE", "FROM"}}
			for _, s := range got.Settings {
				if s.From == settings.FromDefault && !all {
					continue
				}
				from := s.From
				if s.Line > 0 {
					from = fmt.Sprintf("%s:%d", got.File, s.Line)
				}
				rows = append(rows, []string{s.Name, terminal.OrDash(strings.Join(s.Value, ", ")), from})
			}
			if len(rows) == 1 {
				_, err := fmt.Fprintln(out, "everything is the default: castpoint config show --all shows it")
				return err
			}
			return terminal.Table(out, rows)
		},
	})
	c.Flags().BoolVar(&all, "all", false, "show what is the default, too")
	cli.ConfigFlag(c, &path)
	return c
}
