package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"castpoint/agent/command"
	"castpoint/agent/protocol"
	"castpoint/internal/config"
	"castpoint/internal/loglevel"
	"castpoint/web"
	"castpoint/web/access"
	"castpoint/web/api"
)

// newLog writes to standard error, where systemd and people look for it.
func newLog(c config.Config, w io.Writer) (*zap.Logger, *loglevel.Levels, error) {
	levels := loglevel.New(zapcore.InfoLevel)
	if err := setLevels(levels, &c); err != nil {
		return nil, nil, err
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if c.LogFormat == "console" {
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return levels.Wrap(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zapcore.DebugLevel)), levels, nil
}

// setLevels gives loggers the levels of the settings.
func setLevels(levels *loglevel.Levels, c *config.Config) error {
	base, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return fmt.Errorf("log-level: %w", err)
	}
	own, err := loglevel.Parse(c.LogLevels)
	if err != nil {
		return fmt.Errorf("log-levels %w", err)
	}
	for name := range own {
		if !slices.Contains(loggers(), name) {
			return fmt.Errorf("log-levels: there is no logger %q: want one of %s", name, strings.Join(loggers(), ", "))
		}
	}
	levels.Replace(base, own)
	return nil
}

// loggers are the names of all loggers of castpoint serve.
func loggers() []string {
	return []string{"access", "admin", "boot", "console", "delivery", "devices", "dhcp", "events", "http", "join", "notify", "rollout", "tftp", "winpe"}
}

// wholeProgram is how the level of everything else is named.
const wholeProgram = "all"

// logger is a logger of the API.
type logger struct {
	Name  string `json:"name" doc:"all is everything that has no level of its own"`
	Level string `json:"level" enum:"debug,info,warn,error"`
	Own   bool   `json:"own" doc:"it has a level of its own"`
}

func describeLogger(levels *loglevel.Levels, name string) logger {
	if name == wholeProgram {
		level, _ := levels.Of("")
		return logger{name, level.String(), true}
	}
	level, own := levels.Of(name)
	return logger{name, level.String(), own}
}

// logOperations change the levels of a serving point.
func logOperations(levels *loglevel.Levels) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "list-loggers", Method: http.MethodGet, Path: "/log", Scope: access.Read, Tag: "server", Summary: "The levels of all loggers",
		}, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[logger], error) {
			var all []logger
			for _, name := range append([]string{wholeProgram}, loggers()...) {
				all = append(all, describeLogger(levels, name))
			}
			slices.SortFunc(all, func(x, y logger) int { return cmp.Compare(x.Name, y.Name) })
			return api.Cut(all, func(l *logger) string { return l.Name }, in.PageQuery), nil
		})
		api.Answer(a, api.Operation{
			ID: "set-log-level", Method: http.MethodPut, Path: "/log/{name}", Scope: access.Admin, Tag: "server",
			Summary: "Change the level of a logger until the server is restarted or its settings are read again",
		}, func(ctx context.Context, in *struct {
			Name string `path:"name" doc:"of the logger; all for everything that has no level of its own"`
			Body struct {
				Level string `json:"level" enum:"debug,info,warn,error,default" doc:"default takes a logger's own level away"`
			}
		}) (logger, error) {
			api.Note(ctx, "%s", in.Body.Level)
			return setLevel(levels, in.Name, in.Body.Level)
		})
	}
}

func setLevel(levels *loglevel.Levels, name, level string) (logger, error) {
	key := name
	if name == wholeProgram {
		key = ""
	} else if !slices.Contains(loggers(), name) {
		p := api.Problem(http.StatusNotFound, "want one of all, "+strings.Join(loggers(), ", "), "there is no logger %q", name)
		p.Code = protocol.CodeNotFound
		return logger{}, p
	}
	if level == "default" {
		if key == "" {
			return logger{}, api.Problem(http.StatusBadRequest, "", "the level of everything has no default: want debug, info, warn or error")
		}
		levels.Reset(key)
		return describeLogger(levels, name), nil
	}
	parsed, err := zapcore.ParseLevel(level)
	if err != nil {
		return logger{}, api.Problem(http.StatusBadRequest, "", "level %q: want debug, info, warn or error", level)
	}
	levels.Set(key, parsed)
	return describeLogger(levels, name), nil
}

func newLogLevel(o *options) *cobra.Command {
	return o.addJSON(&cobra.Command{
		Use: "level [NAME [LEVEL]]", Short: "Show or change the levels of the running server's loggers", Args: cobra.MaximumNArgs(2),
		Long: `Level shows the levels of the loggers. With NAME and LEVEL it changes one, until the
server is restarted or its settings are read again. NAME all is everything that has no
level of its own; LEVEL is debug, info, warn or error, or default to take a logger's own
level away.`,
		Example:           "  castpoint log level\n  castpoint log level dhcp debug\n  castpoint log level dhcp default",
		ValidArgsFunction: completeLogLevel,
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []logger
			if len(args) == 2 {
				if !slices.Contains(append(logLevels(), "default"), args[1]) {
					return command.Usage("level %q: want one of %v, or default", args[1], logLevels())
				}
				var one logger
				if err := o.callWith(cmd.Context(), onlyRunning, http.MethodPut, "/log/"+url.PathEscape(args[0]), map[string]string{"level": args[1]}, &one); err != nil {
					return err
				}
				list = append(list, one)
			} else {
				client, done, err := o.adminRoutes(cmd.Context(), onlyRunning)
				if err != nil {
					return err
				}
				defer done()
				if list, err = web.List[logger](cmd.Context(), client, "/log"); err != nil {
					return err
				}
				if len(args) == 1 {
					list = slices.DeleteFunc(list, func(l logger) bool { return l.Name != args[0] })
					if len(list) == 0 {
						return notFound(fmt.Errorf("there is no logger %q: want all, %s", args[0], strings.Join(loggers(), ", ")))
					}
				}
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			rows := [][]string{{"LOGGER", "LEVEL", ""}}
			for _, l := range list {
				own := ""
				if l.Own && l.Name != wholeProgram {
					own = "its own"
				}
				rows = append(rows, []string{l.Name, l.Level, own})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	})
}

func logLevels() []string { return []string{"debug", "info", "warn", "error"} }

func completeLogLevel(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return append([]string{wholeProgram}, loggers()...), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return append(logLevels(), "default"), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
