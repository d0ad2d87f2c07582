package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/point"
	"castpoint/point/logging"
	"castpoint/web/call"
)

// NewLog are the commands about the log.
func NewLog(o *cli.Options) *cobra.Command {
	return command.Group("log", "Work with the log of the running server", newLogLevel(o))
}

func newLogLevel(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "level [NAME [LEVEL]]", Short: "Show or change the levels of the running server's loggers", Args: cobra.MaximumNArgs(2),
		Long: `Level shows the levels of the loggers. With NAME and LEVEL it changes one, until the
server is restarted or its settings are read again. NAME all is everything that has no
level of its own; LEVEL is debug, info, warn or error, or default to take a logger's own
level away.`,
		Example:           "  castpoint log level\n  castpoint log level dhcp debug\n  castpoint log level dhcp default",
		ValidArgsFunction: completeLogLevel,
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []logging.Logger
			if len(args) == 2 {
				if !slices.Contains(append(logLevels(), "default"), args[1]) {
					return command.Usage("level %q: want one of %v, or default", args[1], logLevels())
				}
				var one logging.Logger
				if err := o.CallWith(cmd.Context(), point.OnlyRunning, http.MethodPut, "/log/"+url.PathEscape(args[0]), map[string]string{"level": args[1]}, &one); err != nil {
					return err
				}
				list = append(list, one)
			} else {
				client, done, err := o.AdminRoutes(cmd.Context(), point.OnlyRunning)
				if err != nil {
					return err
				}
				defer done()
				if list, err = call.List[logging.Logger](cmd.Context(), client, "/log"); err != nil {
					return err
				}
				if len(args) == 1 {
					list = slices.DeleteFunc(list, func(l logging.Logger) bool { return l.Name != args[0] })
					if len(list) == 0 {
						return cli.NotFound(fmt.Errorf("there is no logger %q: want all, %s", args[0], strings.Join(logging.Names(), ", ")))
					}
				}
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), list)
			}
			rows := [][]string{{"LOGGER", "LEVEL", ""}}
			for _, l := range list {
				own := ""
				if l.Own && l.Name != logging.WholeProgram {
					own = "its own"
				}
				rows = append(rows, []string{l.Name, l.Level, own})
			}
			return terminal.Table(cmd.OutOrStdout(), rows)
		},
	})
}

func logLevels() []string { return []string{"debug", "info", "warn", "error"} }

func completeLogLevel(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return append([]string{logging.WholeProgram}, logging.Names()...), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return append(logLevels(), "default"), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
