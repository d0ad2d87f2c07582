// Package run asks the server what this machine is to do, and does it: it receives the
// content that is assigned, or runs a task sequence, in the boot environment (Run) and
// in the operating system that it has put on the disk (Continue).
package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/receive"
)

// DefaultFolder is where a machine keeps what it receives when the server names
// no target: in memory, in Windows PE on its RAM disk. It is made when it is
// missing.
const DefaultFolder = "/run"

// AfterFile is where Run leaves what the boot environment is to do then.
const AfterFile = "/run/castpoint/after"

// defaultPoll is how often a waiting machine asks when the server does not say.
const defaultPoll = 15 * time.Second

// Boot is what a boot environment finds on its kernel command line.
type Boot struct {
	Server string // castpoint.server
	Pin    string // castpoint.pin
	Token  string // castpoint.token
	MAC    string // castpoint.mac: the card that booted
	Prompt bool   // castpoint.prompt: a command prompt is allowed
}

// ParseCmdline reads the text of /proc/cmdline. Of a word that is there twice
// the last one counts. Errors: ErrUsage, naming the word that is missing.
func ParseCmdline(text string) (Boot, error) {
	var b Boot
	words := map[string]*string{
		"castpoint.server": &b.Server, "castpoint.pin": &b.Pin, "castpoint.token": &b.Token, "castpoint.mac": &b.MAC,
	}
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		if p := words[name]; p != nil {
			*p = value
		}
		if name == "castpoint.prompt" {
			b.Prompt = value != "0"
		}
	}
	for _, name := range []string{"castpoint.server", "castpoint.pin", "castpoint.token"} {
		if *words[name] == "" {
			return b, agent.Errorf(agent.ErrUsage, "the kernel command line has no %s=: this machine was not booted by castpoint serve", name)
		}
	}
	return b, nil
}

// Options say how Run behaves; Boot is required.
type Options struct {
	Boot Boot
	// Folder replaces DefaultFolder, AfterFile the file of that name; for tests.
	Folder, AfterFile string
	// Say tells a person one line; Report is told of the receive. Both may be nil.
	Say    func(string)
	Report func(agent.Event)
	// SetClock is called with the server's time when this machine's is another;
	// nil leaves the clock as it is.
	SetClock func(time.Time) error
	// Reach is how long a server that does not answer is asked at first; 0 means 40 s,
	// less than 0 asks once.
	Reach time.Duration
	// Tasks are for task sequences; nil where none can be run.
	Tasks *TaskOptions
	Log   *zap.Logger
}

// Run asks the server what this machine is to do, and does it. It waits as long
// as the server says so. When it returns nil, the file AfterFile says what the
// boot environment is to do next.
func Run(ctx context.Context, o Options) error {
	o.setDefaults()
	c, err := client.New(o.Boot.Server, o.Boot.Pin, client.HardwareAddresses(o.Boot.MAC))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := inventory(ctx, c, o, o.Reach); err != nil {
		return err
	}
	p, err := awaitPolicy(ctx, c, o)
	if err != nil {
		return err
	}
	switch p.Action {
	case protocol.ActionRun:
		after, err := runTask(ctx, c, p, o)
		if err != nil {
			return err
		}
		return leaveWish(o.AfterFile, after)
	case protocol.ActionLocal:
		o.Say(p.Message)
		return leaveWish(o.AfterFile, protocol.AfterReboot)
	}
	return receiveAssigned(ctx, c, p, o)
}

// setDefaults fills in what was left out.
func (o *Options) setDefaults() {
	if o.Folder == "" {
		o.Folder = filepath.FromSlash(DefaultFolder)
	}
	if o.AfterFile == "" {
		o.AfterFile = filepath.FromSlash(AfterFile)
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Report == nil {
		o.Report = func(agent.Event) {}
	}
	if o.Reach == 0 {
		o.Reach = client.Patience
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// receiveAssigned receives the content that a policy assigns.
func receiveAssigned(ctx context.Context, c *client.Client, p *protocol.Policy, o Options) error {
	out := p.Target
	if out == "" {
		if err := os.MkdirAll(o.Folder, 0o755); err != nil {
			return fmt.Errorf("make the folder for what is received: %w", err)
		}
		out = filepath.Join(o.Folder, filepath.Base(p.Content))
		if !p.Folder {
			out += ".wim"
		}
	}
	o.Say(fmt.Sprintf("%s; it goes to %s", p.Message, out))

	post := newPoster(ctx, c, o)
	_, err := receive.Receive(ctx, receive.Options{
		Server: o.Boot.Server, Pin: o.Boot.Pin, Token: o.Boot.Token, Content: p.Content,
		Out: out, Force: true, Name: o.Boot.MAC, MAC: o.Boot.MAC, Log: o.Log,
		Report: func(e agent.Event) {
			o.Report(e)
			post.add(p.Content, e)
		},
	})
	post.close()
	if err != nil {
		return err
	}
	return leaveWish(o.AfterFile, p.After)
}

// awaitPolicy asks until the server has something to do.
func awaitPolicy(ctx context.Context, c *client.Client, o Options) (*protocol.Policy, error) {
	said := ""
	patience := o.Reach
	for clock := false; ; {
		var p *protocol.Policy
		err := o.reached(ctx, patience, func() (err error) {
			p, err = c.Policy(ctx, o.Boot.Token)
			return err
		})
		if err != nil {
			return nil, err
		}
		patience = max(patience, beginPatience) // who waits for work waits for a restart of the server
		if !clock {
			clock = true
			setClock(c.Ahead(), o)
		}
		switch p.Action {
		case protocol.ActionReceive, protocol.ActionLocal:
			return p, nil
		case protocol.ActionRun:
			if o.Tasks != nil {
				return p, nil
			}
			return nil, errors.New("the server wants this machine to run a task sequence, which it can do in a boot environment only")
		case protocol.ActionWait:
		default:
			return nil, fmt.Errorf("the server wants this machine to %q, which this agent does not know: build the boot image again with the agent of the server's version", p.Action)
		}
		if p.Message != said {
			said = p.Message
			o.Say(said)
		}
		pause := defaultPoll
		if p.Poll > 0 {
			pause = time.Duration(p.Poll) * time.Second
		}
		if !client.Sleep(ctx, pause) {
			return nil, errors.New("interrupted while waiting for something to do")
		}
	}
}

// reached asks a server that may not be there yet, or not any more.
func (o *Options) reached(ctx context.Context, patience time.Duration, ask func() error) error {
	said := ""
	return client.Reached(ctx, patience, func(err error, _ time.Duration) {
		if text := err.Error(); text != said {
			said = text
			o.Say("the server is asked again: " + text)
		}
	}, ask)
}

// clockTolerance is how wrong the clock of a machine may be: the server's time
// comes in whole seconds.
const clockTolerance = 2 * time.Second

// setClock makes this machine's clock the server's, which the machine has proven
// to be the right one by its pin. Machines without a clock battery are in 1970:
// logs, and certificates that are checked after the deployment, need the time.
func setClock(ahead time.Duration, o Options) {
	if o.SetClock == nil || ahead.Abs() <= clockTolerance {
		return
	}
	now := time.Now().Add(ahead)
	if err := o.SetClock(now); err != nil {
		o.Say(fmt.Sprintf("the clock is wrong by %s and cannot be set: %v", ahead.Abs().Round(time.Second), err))
		return
	}
	o.Say("clock set to " + now.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// leaveWish tells the boot environment what to do now. Its own words are
// poweroff, reboot, shell and stay.
func leaveWish(path, after string) error {
	if after == "" {
		return nil // its own default
	}
	if after == protocol.AfterWait {
		after = "stay"
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(after+"\n"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("say what comes next: %w", err)
	}
	return nil
}

// Tuning of the poster.
const (
	postQueue    = 16
	postProgress = 10 * time.Second
)

// poster reports to the server without holding up the receive: what does not fit
// in its queue is dropped.
type poster struct {
	client  *client.Client
	mac     string
	secret  string
	queue   chan protocol.Event
	running sync.WaitGroup
	last    time.Time
	log     *zap.Logger
}

func newPoster(ctx context.Context, c *client.Client, o Options) *poster {
	p := &poster{client: c, mac: o.Boot.MAC, secret: o.Boot.Token, queue: make(chan protocol.Event, postQueue), log: o.Log}
	p.running.Go(func() {
		for e := range p.queue {
			if err := c.Event(ctx, p.secret, e); err != nil && !errors.Is(err, context.Canceled) {
				p.log.Debug("event not reported", zap.Error(err))
			}
		}
	})
	return p
}

// add queues what happened, as the server wants it.
func (p *poster) add(content string, e agent.Event) {
	if e.Kind == agent.EventProgress {
		if e.Time.Sub(p.last) < postProgress {
			return
		}
		p.last = e.Time
	}
	msg := e.Message
	if len(e.Advice) > 0 {
		msg += ": " + strings.Join(e.Advice, "; ")
	}
	select {
	case p.queue <- protocol.Event{
		Kind: e.Kind, Message: msg, MAC: p.mac, Name: p.mac, Content: content,
		Blocks: e.Blocks, Total: e.Total, Rate: e.Rate, Seconds: e.Seconds,
	}:
	default:
	}
}

// close waits until what is queued is sent.
func (p *poster) close() {
	close(p.queue)
	p.running.Wait()
}
