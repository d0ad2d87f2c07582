//go:build !windows

package run

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"castpoint/agent"
	"castpoint/agent/protocol"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/test/joinserver"
	"castpoint/web/join"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	s := joinserver.New(t, 3*joinserver.BlockSize, joinserver.Multicast, nil)
	mac := []byte{0x52, 0x54, 0, 0xaa, 0, 1}
	cfg := s.Config
	s.Close()
	cfg.Assign = join.Assignment{Content: "image", After: protocol.AfterWait}
	cfg.Timeline = timeline(t)
	next := joinserver.Serve(t, cfg)
	ticket, err := next.BootToken(t.Context(), joinserver.BootClient(mac))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ParseCmdline("quiet castpoint.server=https://" + next.Addr + " castpoint.pin=" + ticket.Pin + " castpoint.token=" + ticket.Token + " castpoint.mac=52:54:00:aa:00:01")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var said []string
	o := Options{Boot: boot, Folder: dir, AfterFile: filepath.Join(dir, "castpoint", "after"), Say: func(s string) { said = append(said, s) }}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "image.wim")); err != nil || !bytes.Equal(b, s.Data) {
		t.Error(len(b), err)
	}
	if b, err := os.ReadFile(o.AfterFile); err != nil || string(b) != "stay\n" {
		t.Errorf("%q, %v", b, err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "receives image") {
		t.Error(said)
	}
	if err := cfg.Timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := cfg.Timeline.Query(t.Context(), event.Filter{MACs: []string{"52:54:00:aa:00:01"}}, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reported []string
	for _, e := range p.Events {
		reported = append(reported, e.Message)
	}
	text := strings.Join(reported, "\n")
	if !strings.Contains(text, agent.EventJoined) || !strings.HasPrefix(reported[len(reported)-1], agent.EventDone) {
		t.Error(text)
	}
}

// timeline keeps what machines report.
func timeline(t *testing.T) *event.Recorder {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := event.New(event.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		_ = s.Close()
	})
	return r
}

func TestRunWaits(t *testing.T) {
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, nil)
	ticket, err := s.BootToken(t.Context(), joinserver.BootClient([]byte{0x52, 0x54, 0, 0xaa, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := ""
	err = Run(ctx, Options{
		Boot: Boot{Server: s.URL, Pin: ticket.Pin, Token: ticket.Token},
		Say:  func(text string) { said = text; cancel() },
	})
	if err == nil || !strings.Contains(said, "nothing is assigned") {
		t.Error(said, err)
	}
}
