package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// Three receivers with 2 % loss each get one WIM in one session.
func TestReceiveWithLoss(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 3, Loss: 0.02})
	wim, c := addWIM(t, p, 24<<20)
	serve(t, p, "--min-members", "3", "--max-wait", "1m", "--rate", "200mbit")
	var procs []*lab.Process
	var outs []string
	for _, h := range p.Network.Clients {
		outs = append(outs, filepath.Join(p.Network.Dir, h.Name+".wim"))
		procs = append(procs, receive(t, p, h, c.ID, outs[len(outs)-1], "--name", h.Name))
	}
	for i := range procs {
		mustReceive(t, procs[i], wim, outs[i])
		if err := image.Verify(t.Context(), outs[i]); err != nil {
			t.Error(err)
		}
	}
}

// A receiver that comes when half has passed gets everything, and one that was
// there from the start is not held up.
func TestLateJoin(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 16<<20)
	serve(t, p, "--rate", "30mbit")
	early, late := filepath.Join(p.Network.Dir, "early"), filepath.Join(p.Network.Dir, "late")
	first := receive(t, p, p.Network.Clients[0], c.ID, early, "--name", "early")
	eventually(t, "the first receiver has a third", func() bool {
		for _, s := range sessions(t, p) {
			for _, m := range s.Members {
				if m.Name == "early" && m.Complete > s.Blocks/3 {
					return true
				}
			}
		}
		return false
	})
	second := receive(t, p, p.Network.Clients[1], c.ID, late, "--name", "late")
	eventually(t, "both are in one session", func() bool {
		all := sessions(t, p)
		return len(all) == 1 && len(all[0].Members) == 2
	})
	mustReceive(t, first, wim, early)
	mustReceive(t, second, wim, late)
}

// A receiver that is killed in the middle goes on where it was when it is
// started again, with the same token.
func TestResumeAfterKill(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	wim, c := addWIM(t, p, 16<<20)
	serve(t, p, "--rate", "30mbit")
	h, out := p.Network.Clients[0], filepath.Join(p.Network.Dir, "out.wim")
	secret := token(t, p, c.ID)
	proc, err := p.Receive(h, nil, c.ID, secret, out, "--name", "phoenix")
	if err != nil {
		t.Fatal(err)
	}
	complete := func() int {
		for _, s := range sessions(t, p) {
			for _, m := range s.Members {
				if m.Name == "phoenix" {
					return m.Complete
				}
			}
		}
		return 0
	}
	eventually(t, "a part has arrived", func() bool { return complete() > 20 })
	proc.Kill()
	if proc, err = p.Receive(h, nil, c.ID, secret, out, "--name", "phoenix"); err != nil {
		t.Fatal(err)
	}
	mustReceive(t, proc, wim, out)
	if !strings.Contains(proc.Output.String(), "resum") {
		t.Errorf("the second run does not say that it resumes:\n%s", proc.Output.Tail(20))
	}
}

// A member that dies does not hold up the others.
func TestMemberDeath(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 16<<20)
	serve(t, p, "--rate", "50mbit", "--min-members", "2", "--max-wait", "1m")
	doomed := receive(t, p, p.Network.Clients[0], c.ID, filepath.Join(p.Network.Dir, "doomed"), "--name", "doomed")
	out := filepath.Join(p.Network.Dir, "survivor")
	survivor := receive(t, p, p.Network.Clients[1], c.ID, out, "--name", "survivor")
	eventually(t, "data flows", func() bool {
		for _, s := range sessions(t, p) {
			for _, m := range s.Members {
				if m.Complete > 10 {
					return true
				}
			}
		}
		return false
	})
	if err := doomed.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	mustReceive(t, survivor, wim, out)
}

// No datagram gets through: the receiver says so, and gets the file by unicast;
// a content that is for multicast alone is refused with the reason.
func TestMulticastBlocked(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"falls back", nil, 0},
		{"multicast only", []string{"--multicast-only"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPoint(t, lab.Config{Clients: 1})
			wim, content := addWIM(t, p, 4<<20, c.args...)
			serve(t, p)
			h := p.Network.Clients[0]
			if err := p.Network.BlockMulticast(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(p.Network.Dir, "out.wim")
			proc := receive(t, p, h, content.ID, out, "--patience", "10s")
			code := wait(t, proc)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			said := proc.Output.String()
			for _, word := range []string{"IGMP", "eth0", "239."} {
				if !strings.Contains(said, word) {
					t.Errorf("the receiver does not mention %s:\n%s", word, proc.Output.Tail(20))
				}
			}
			if c.code == 0 {
				if err := image.Same(wim, out); err != nil {
					t.Error(err)
				}
			} else if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a failed receiver left %s (%v)", out, err)
			}
		})
	}
}

// Who may not join is told why, with exit code 5, and has nothing on disk.
func TestJoinRefused(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	wim, c := addWIM(t, p, 2<<20)
	serve(t, p)
	used := token(t, p, c.ID)
	first := filepath.Join(p.Network.Dir, "first.wim")
	proc, err := p.Receive(p.Network.Clients[0], nil, c.ID, used, first)
	if err != nil {
		t.Fatal(err)
	}
	mustReceive(t, proc, wim, first)

	pin := p.Pin
	for _, test := range []struct {
		name    string
		token   string
		content string
		pin     string
		code    int
		words   []string
	}{
		{"token used twice", used, c.ID, pin, 5, []string{"token", "used"}},
		{"token that is none", "A" + strings.Repeat("b", 40), c.ID, pin, 5, []string{"token"}},
		{"content that is not there", token(t, p, c.ID), "no-such-content", pin, 4, []string{"no-such-content"}},
		{"wrong pin", token(t, p, c.ID), c.ID, "sha256:" + strings.Repeat("00", 32), 5, []string{"certificate", "sha256:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := filepath.Join(p.Network.Dir, "second.wim")
			p.Pin = test.pin
			defer func() { p.Pin = pin }()
			proc, err := p.Receive(p.Network.Clients[1], nil, test.content, test.token, out)
			if err != nil {
				t.Fatal(err)
			}
			if code := wait(t, proc); code != test.code {
				t.Errorf("exit code %d, want %d:\n%s", code, test.code, proc.Output.Tail(10))
			}
			for _, w := range test.words {
				if !strings.Contains(proc.Output.String(), w) {
					t.Errorf("does not mention %q:\n%s", w, proc.Output.Tail(10))
				}
			}
			left, err := filepath.Glob(out + "*")
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

// A pipable WIM goes straight into wimlib, which applies it while it comes: with
// loss, and on a machine that joins when a part has gone by. Nothing else is kept.
func TestPipeIntoWimlib(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2, Loss: 0.01})
	plain := filepath.Join(p.Network.Dir, "plain.wim")
	if err := image.Make(t.Context(), plain, "e2e", 24<<20); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(p.Network.Dir, "pipable.wim")
	wimlib(t, "export", plain, "1", source, "--pipable")
	c, err := p.Add(t.Context(), "os-image", source, "--multicast", "--encrypt", "--multicast-only")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--rate", "60mbit")
	want := filepath.Join(p.Network.Dir, "want")
	wimlib(t, "apply", source, "1", want)
	start := func(h *lab.Host) (*lab.Process, string) {
		t.Helper()
		tree := filepath.Join(p.Network.Dir, "tree-"+h.Name)
		proc, err := h.Start(lab.Command{Args: []string{p.Binary, "receive", c.ID, "--server", point.JoinURL, "--pin", p.Pin,
			"--token", token(t, p, c.ID), "--name", h.Name, "--json", "--window", "4", "--pipe", "--", "wimlib-imagex", "apply", "-", "1", tree}})
		if err != nil {
			t.Fatal(err)
		}
		return proc, tree
	}
	first, tree1 := start(p.Network.Clients[0])
	eventually(t, "the first receiver has a third", func() bool {
		for _, s := range sessions(t, p) {
			for _, m := range s.Members {
				if m.Complete > s.Blocks/3 {
					return true
				}
			}
		}
		return false
	})
	late, tree2 := start(p.Network.Clients[1])
	for proc, tree := range map[*lab.Process]string{first: tree1, late: tree2} {
		if code := wait(t, proc); code != 0 {
			t.Fatalf("castpoint receive --pipe ended with exit code %d:\n%s", code, proc.Output.Tail(20))
		}
		if out, err := exec.CommandContext(t.Context(), "diff", "-r", want, tree).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", tree, err, out)
		}
	}
}
