package logging

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"castpoint/agent/protocol"
	"castpoint/internal/config"
	"castpoint/internal/loglevel"
	"castpoint/web/access"
	"castpoint/web/api"
)

// New makes a logger that writes to standard error, where systemd and people look for it.
func New(c config.Config, w io.Writer) (*zap.Logger, *loglevel.Levels, error) {
	levels := loglevel.New(zapcore.InfoLevel)
	if err := SetLevels(levels, &c); err != nil {
		return nil, nil, err
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if c.LogFormat == "console" {
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return levels.Wrap(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(visible{w})), zapcore.DebugLevel)), levels, nil
}

// visible writes lines of the log whose fields somebody on the network has made up. The
// encoder escapes the first 32 characters; terminals obey others as well: those of
// ISO 6429 above 127 move the cursor, some of Unicode turn the direction of writing.
type visible struct{ w io.Writer }

func (v visible) Write(b []byte) (int, error) {
	out := b
	if bytes.ContainsFunc(b, obeyed) {
		out = make([]byte, 0, len(b)+64)
		for _, r := range string(b) {
			if obeyed(r) {
				out = fmt.Appendf(out, `\u%04x`, r)
			} else {
				out = utf8.AppendRune(out, r)
			}
		}
	}
	if _, err := v.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func obeyed(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r > 0xff && unicode.In(r, unicode.Bidi_Control)
}

// SetLevels gives loggers the levels of the settings.
func SetLevels(levels *loglevel.Levels, c *config.Config) error {
	base, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return fmt.Errorf("log-level: %w", err)
	}
	own, err := loglevel.Parse(c.LogLevels)
	if err != nil {
		return fmt.Errorf("log-levels %w", err)
	}
	for name := range own {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("log-levels: there is no logger %q: want one of %s", name, strings.Join(Names(), ", "))
		}
	}
	levels.Replace(base, own)
	return nil
}

// Names are the names of all loggers of castpoint serve.
func Names() []string {
	return []string{"access", "admin", "boot", "clock", "console", "content", "delivery", "devices", "dhcp", "events", "http", "join", "notify", "rollout", "session", "tftp", "winpe"}
}

// WholeProgram is how the level of everything else is named.
const WholeProgram = "all"

// Logger is a logger of the API.
type Logger struct {
	Name  string `json:"name" doc:"all is everything that has no level of its own"`
	Level string `json:"level" enum:"debug,info,warn,error"`
	Own   bool   `json:"own" doc:"it has a level of its own"`
}

func describeLogger(levels *loglevel.Levels, name string) Logger {
	if name == WholeProgram {
		level, _ := levels.Of("")
		return Logger{name, level.String(), true}
	}
	level, own := levels.Of(name)
	return Logger{name, level.String(), own}
}

// Operations show and change the levels of a serving point.
func Operations(levels *loglevel.Levels) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "list-loggers", Method: http.MethodGet, Path: "/log", Scope: access.Read, Tag: "server",
			Summary: "The levels of all loggers",
			About:   "A logger without a level of its own has that of all.",
		}, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[Logger], error) {
			var all []Logger
			for _, name := range append([]string{WholeProgram}, Names()...) {
				all = append(all, describeLogger(levels, name))
			}
			slices.SortFunc(all, func(x, y Logger) int { return cmp.Compare(x.Name, y.Name) })
			return api.Cut(all, func(l *Logger) string { return l.Name }, in.PageQuery), nil
		})
		api.Answer(a, api.Operation{
			ID: "set-log-level", Method: http.MethodPut, Path: "/log/{name}", Scope: access.Admin, Tag: "server",
			Summary: "Change the level of a logger until the server is restarted or its settings are read again",
			About:   "The next reload or restart sets the levels of the settings again.",
		}, func(ctx context.Context, in *struct {
			Name string `path:"name" doc:"of the logger; all for everything that has no level of its own"`
			Body struct {
				Level string `json:"level" enum:"debug,info,warn,error,default" doc:"default takes a logger's own level away"`
			}
		}) (Logger, error) {
			api.Note(ctx, "%s", in.Body.Level)
			return setLevel(levels, in.Name, in.Body.Level)
		})
	}
}

func setLevel(levels *loglevel.Levels, name, level string) (Logger, error) {
	key := name
	if name == WholeProgram {
		key = ""
	} else if !slices.Contains(Names(), name) {
		p := api.Problem(http.StatusNotFound, "want one of all, "+strings.Join(Names(), ", "), "there is no logger %q", name)
		p.Code = protocol.CodeNotFound
		return Logger{}, p
	}
	if level == "default" {
		if key == "" {
			return Logger{}, api.Problem(http.StatusBadRequest, "", "the level of everything has no default: want debug, info, warn or error")
		}
		levels.Reset(key)
		return describeLogger(levels, name), nil
	}
	parsed, err := zapcore.ParseLevel(level)
	if err != nil {
		return Logger{}, api.Problem(http.StatusBadRequest, "", "level %q: want debug, info, warn or error", level)
	}
	levels.Set(key, parsed)
	return describeLogger(levels, name), nil
}
