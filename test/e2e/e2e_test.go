// Package e2e checks castpoint from outside: the built program, in closed
// virtual networks, with firmware, clients and servers that others wrote. It
// needs root and what test/install-tools installs; make test runs it.
package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

var binary = flag.String("castpoint", "../../bin/castpoint", "the castpoint program")

// patience bounds every wait of a test that nothing else bounds.
const patience = 2 * time.Minute

// newPoint makes a network and a distribution point in it that does not run
// yet. Both go with the test; when it fails, the server's last words are shown.
func newPoint(t *testing.T, c lab.Config) *point.Point {
	t.Helper()
	n, err := lab.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := point.New(n, *binary)
	t.Cleanup(func() {
		if t.Failed() && p != nil && p.Server != nil {
			t.Logf("castpoint serve said last:\n%s", p.Server.Output.Tail(40))
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// takesMinutes leaves a test to make soak.
func takesMinutes(t *testing.T) {
	t.Helper()
	if os.Getenv("CASTPOINT_SOAK") == "" {
		t.Skip("it takes minutes: make soak")
	}
}

// serve starts castpoint serve.
func serve(t *testing.T, p *point.Point, args ...string) {
	t.Helper()
	if err := p.Serve(t.Context(), nil, args...); err != nil {
		t.Fatal(err)
	}
}

// bootVM starts a machine.
func bootVM(t *testing.T, p *point.Point, m lab.Machine) *lab.VM {
	t.Helper()
	vm, err := p.Network.Boot(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// must waits until a machine's console says what matches.
func must(t *testing.T, vm *lab.VM, pattern string) []string {
	t.Helper()
	m, err := vm.Output.WaitFor(t.Context(), pattern, patience)
	if err != nil {
		t.Fatalf("%s: %v; the console:\n%s", vm.Name, err, vm.Output.Tail(40))
	}
	return m
}

// wait returns the exit code of a program, which must end within patience.
func wait(t *testing.T, p *lab.Process) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// addWIM makes a WIM of about the given size in bytes and adds it.
func addWIM(t *testing.T, p *point.Point, size int64, args ...string) (path string, c point.Content) {
	t.Helper()
	path = filepath.Join(p.Network.Dir, "source.wim")
	if err := image.Make(t.Context(), path, "e2e", size); err != nil {
		t.Fatal(err)
	}
	c, err := p.Add(t.Context(), append([]string{"os-image", path, "--multicast", "--encrypt"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return path, c
}

// token makes a one-time token.
func token(t *testing.T, p *point.Point, content string) string {
	t.Helper()
	s, err := p.Token(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// receive starts a receiver with a token of its own.
func receive(t *testing.T, p *point.Point, h *lab.Host, content, out string, args ...string) *lab.Process {
	t.Helper()
	proc, err := p.Receive(h, nil, content, token(t, p, content), out, args...)
	if err != nil {
		t.Fatal(err)
	}
	return proc
}

// mustReceive checks that a receiver ended well and has the source's bytes.
func mustReceive(t *testing.T, proc *lab.Process, source, out string) {
	t.Helper()
	if code := wait(t, proc); code != 0 {
		t.Fatalf("castpoint receive ended with exit code %d:\n%s", code, proc.Output.Tail(20))
	}
	if err := image.Same(source, out); err != nil {
		t.Fatal(err)
	}
}

// mustFail checks a command that has to fail: its exit code, that it says why
// in one line, and that the line has all the given words.
func mustFail(t *testing.T, err error, code int, words ...string) {
	t.Helper()
	if got := point.Code(err); got != code {
		t.Errorf("exit code %d, want %d: %v", got, code, err)
	}
	if err == nil {
		return
	}
	var f *point.Failure
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	lines := strings.Split(f.Said, "\n")
	if len(lines) != 1 {
		t.Errorf("want one line, castpoint %s said:\n%s", strings.Join(f.Args, " "), f.Said)
	}
	for _, w := range words {
		if !strings.Contains(f.Said, w) {
			t.Errorf("castpoint %s does not mention %q: %s", strings.Join(f.Args, " "), w, f.Said)
		}
	}
}

// writeRandom makes a file of random bytes.
func writeRandom(t *testing.T, path string, size int) {
	t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sessions is castpoint session list --json.
func sessions(t *testing.T, p *point.Point) []session {
	t.Helper()
	out, err := p.Run(t.Context(), "session", "list", "--data", p.Data, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var all []session
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("castpoint session list: %v: %s", err, out)
	}
	return all
}

type session struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Group  string `json:"group"`
	Blocks int    `json:"blocks"`
	Slower bool   `json:"slower"`
	// Interface is the one that it leaves by.
	Interface string `json:"interface"`
	Members   []struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Complete int    `json:"complete"` // blocks
	} `json:"members"`
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
