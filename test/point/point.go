// Package point runs the castpoint program in a lab, the way a person would:
// by its command line, reading what it prints.
package point

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"castpoint/internal/lab"
)

// JoinURL is where receivers in a lab join.
var JoinURL = "https://" + lab.ServerAddr.String() + ":8443"

// Pool is what a server that hands out addresses gives to virtual machines; it
// lies above the addresses of the lab's clients.
const Pool = "10.77.0.100-10.77.0.199"

// startTime is how long castpoint serve may take until it is ready.
const startTime = 20 * time.Second

// A Point is a distribution point: the program and its data folder on the lab's
// server. Its methods run castpoint's commands there.
type Point struct {
	Network *lab.Network
	Binary  string
	Data    string

	// Launch is that of commands on the server (lab.Command), serve among them.
	Launch func(cmd *exec.Cmd, program string) error

	Server *lab.Process // castpoint serve; nil before Serve
	Pin    string       // of the server's certificate, as serve prints it
}

// New makes the data folder of a distribution point that does not run yet.
func New(n *lab.Network, binary string) (*Point, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w: run make build", err)
	}
	p := &Point{Network: n, Binary: binary, Data: filepath.Join(n.Dir, "data")}
	return p, os.MkdirAll(p.Data, 0o755)
}

// Serve starts castpoint serve on the server's cable and waits until it says
// that it is ready. echo may be nil. Settings that this machine has for a server of
// its own are not those of the lab.
func (p *Point) Serve(ctx context.Context, echo func(string), args ...string) error {
	var err error
	p.Server, err = p.Network.Server.Start(lab.Command{
		Args: append([]string{p.Binary, "serve", "--config", os.DevNull, "--data", p.Data, "--interface", "eth0"}, args...),
		Echo: echo, Launch: p.Launch,
	})
	if err != nil {
		return err
	}
	m, err := p.Server.Output.WaitFor(ctx, `sha256:[0-9a-f]{64}`, startTime)
	if err != nil {
		return fmt.Errorf("castpoint serve: %w", err)
	}
	p.Pin = m[0]
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return p.Server.WaitTCP(ctx, 8069)
}

// Run runs an admin command on the server and returns its standard output. The
// error of one that fails is a *Failure.
func (p *Point) Run(ctx context.Context, args ...string) (string, error) {
	proc, err := p.Network.Server.Start(lab.Command{Args: append([]string{p.Binary}, args...), Launch: p.Launch})
	if err != nil {
		return "", err
	}
	code, err := proc.Wait(ctx)
	if err != nil {
		return "", err
	}
	if code != 0 {
		return proc.Stdout.String(), &Failure{Args: args, Code: code, Said: strings.TrimSpace(proc.Output.String())}
	}
	return proc.Stdout.String(), nil
}

// A Failure is a castpoint command that ended with another exit code than 0.
type Failure struct {
	Args []string
	Code int
	Said string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("castpoint %s: exit code %d: %s", strings.Join(f.Args, " "), f.Code, f.Said)
}

// Code is the exit code of a command by its error: 0 for none, -1 when it did
// not run.
func Code(err error) int {
	var f *Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.Code
	}
	return -1
}

// Content is what tests need to know of an entry of the library.
type Content struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Files []struct {
		Role   string `json:"role"`
		Name   string `json:"name"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

// Add adds a content and returns what castpoint says about it.
func (p *Point) Add(ctx context.Context, args ...string) (Content, error) {
	var c Content
	out, err := p.Run(ctx, append(append([]string{"content", "add"}, args...), "--data", p.Data, "--json")...)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		return c, fmt.Errorf("castpoint content add wrote no JSON: %w: %s", err, out)
	}
	return c, nil
}

// AddBootEnvironment builds the Linux boot environment and adds it. args are more
// of castpoint bootenv build; without any, it can receive contents and no more,
// which boots soonest.
func (p *Point) AddBootEnvironment(ctx context.Context, args ...string) (Content, error) {
	dir := filepath.Join(p.Network.Dir, "bootenv")
	if len(args) == 0 {
		args = []string{"--receive-only"}
	}
	// Outside of the lab, which no package can be fetched into.
	build := exec.CommandContext(ctx, p.Binary, append([]string{"bootenv", "build", "--out", dir}, args...)...)
	if out, err := build.CombinedOutput(); err != nil {
		return Content{}, fmt.Errorf("castpoint bootenv build: %w: %s", err, out)
	}
	return p.Add(ctx, "boot-image", "--kernel", filepath.Join(dir, "vmlinuz"),
		"--initrd", filepath.Join(dir, "initrd"), "--arch", "amd64", "--name", "linux")
}

var tokenPattern = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)

// Token makes a one-time token for a content.
func (p *Point) Token(ctx context.Context, content string) (string, error) {
	out, err := p.Run(ctx, "token", "create", "--content", content, "--data", p.Data, "--json")
	if err != nil {
		return "", err
	}
	var t struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(out), &t); err != nil || !tokenPattern.MatchString(t.Token) {
		return "", fmt.Errorf("castpoint token create wrote no token: %s", out)
	}
	return t.Token, nil
}

// Receive starts castpoint receive on a host. echo may be nil.
func (p *Point) Receive(h *lab.Host, echo func(string), content, token, out string, args ...string) (*lab.Process, error) {
	return h.Start(lab.Command{Echo: echo, Args: append([]string{p.Binary, "receive", content, "--server", JoinURL,
		"--pin", p.Pin, "--token", token, "--out", out, "--json"}, args...)})
}
