//go:build !windows

package receive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/test/joinserver"
)

// piped is a receive into a shell script that finds $1 to write to.
func piped(t *testing.T, s *joinserver.Server, events *[]agent.Event, script string) (Options, string) {
	t.Helper()
	o := options(t, s, events)
	out := o.Out
	o.Out, o.Pipe, o.PipeLog = "", []string{"sh", "-c", script, "sh", out}, io.Discard
	o.Window, o.VerifySHA256 = 8*joinserver.BlockSize, true
	return o, out
}

func TestPipe(t *testing.T) {
	s := joinserver.New(t, 60*joinserver.BlockSize+77, joinserver.Multicast, nil)
	for name, none := range map[string]string{"multicast": "", "unicast": "none0"} {
		t.Run(name, func(t *testing.T) {
			var events []agent.Event
			o, out := piped(t, s, &events, `cat >"$1"`)
			o.Interface = none
			res, err := Receive(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			inPlace(t, out, s.Data)
			if res.Blocks != 61 || (res.Unicast > 0) != (none != "") || !strings.HasSuffix(res.Out, `cat >"$1" sh `+out) && !strings.Contains(res.Out, "sh") {
				t.Errorf("%+v", res)
			}
			if k := kinds(events); k[0] != agent.EventJoined || k[len(k)-1] != agent.EventDone || slices.Contains(k, agent.EventUnicast) != (none != "") {
				t.Error(k)
			}
		})
	}
}

// A program that ends well without the end of the object has what it wants.
func TestPipeLeavesTheEnd(t *testing.T) {
	s := joinserver.New(t, 60*joinserver.BlockSize, joinserver.Multicast, nil)
	var events []agent.Event
	o, out := piped(t, s, &events, fmt.Sprintf(`head -c %d >"$1"`, len(s.Data)-3*joinserver.BlockSize))
	var log bytes.Buffer
	o.PipeLog = &log
	res, err := Receive(t.Context(), o)
	if err != nil || res.Blocks != 60 {
		t.Fatalf("%+v, %v", res, err)
	}
	inPlace(t, out, s.Data[:len(s.Data)-3*joinserver.BlockSize])
	if !strings.Contains(log.String(), "has ended well without the last ") {
		t.Errorf("it says %q", log.String())
	}
}

// A program that is slow slows nothing but itself, and gets everything.
func TestPipeSlowProgram(t *testing.T) {
	s := joinserver.New(t, 40*joinserver.BlockSize, joinserver.Multicast, nil)
	var events []agent.Event
	o, out := piped(t, s, &events, `sleep 1; cat >"$1"`)
	if _, err := Receive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	inPlace(t, out, s.Data)
}

func TestPipeFails(t *testing.T) {
	s := joinserver.New(t, 60*joinserver.BlockSize, joinserver.Multicast, nil)
	for _, c := range []struct{ name, script, says string }{
		{"ends early", `head -c 1000 >/dev/null; exit 3`, "exit status 3"},
		{"ends early and well", `exit 0`, "before it had everything"},
		{"ends with an error", `cat >/dev/null; echo no space; exit 7`, "exit status 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var events []agent.Event
			o, _ := piped(t, s, &events, c.script)
			var log bytes.Buffer
			o.PipeLog = &log
			began := time.Now()
			_, err := Receive(t.Context(), o)
			if agent.ExitCode(err) != agent.ExitFailed || !strings.Contains(err.Error(), c.says) || time.Since(began) > 20*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			if k := kinds(events); k[len(k)-1] != agent.EventFailed {
				t.Error(k)
			}
			if c.name == "ends with an error" && log.String() != "no space\n" {
				t.Errorf("the program said %q", log.String())
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		var events []agent.Event
		o, _ := piped(t, s, &events, `sleep 60`)
		ctx, cancel := context.WithCancel(t.Context())
		o.Report = func(e agent.Event) {
			if e.Kind == agent.EventProgress && e.Blocks >= 8 {
				cancel()
			}
		}
		began := time.Now()
		if _, err := Receive(ctx, o); agent.ExitCode(err) != agent.ExitFailed || !strings.Contains(err.Error(), "interrupted") || time.Since(began) > 20*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		cancel()
	})
}

func TestPipeRefused(t *testing.T) {
	s := joinserver.New(t, 10, content.Distribution{Multicast: true, MulticastOnly: true}, nil)
	var events []agent.Event
	for _, c := range []struct {
		says   string
		change func(*Options)
	}{
		{"both an output", func(o *Options) { o.Out = filepath.Join(t.TempDir(), "x") }},
		{"not found", func(o *Options) { o.Pipe = []string{"castpoint-no-such-program"} }},
	} {
		o, _ := piped(t, s, &events, "cat")
		c.change(&o)
		if _, err := Receive(t.Context(), o); agent.ExitCode(err) != agent.ExitUsage || !strings.Contains(err.Error(), c.says) {
			t.Error(err)
		}
	}
	// "Multicast only" is kept to with a program, too.
	o, out := piped(t, s, &events, `cat >"$1"`)
	o.Interface, o.Patience = "none0", time.Millisecond
	if _, err := Receive(t.Context(), o); err == nil {
		t.Error("came by unicast")
	}
	if b, err := os.ReadFile(out); err == nil && len(b) > 0 {
		t.Errorf("the program got %d bytes", len(b))
	}
}
