package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"time"

	"go.uber.org/zap"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/resident"
	"castpoint/agent/step"
)

// settle puts the agent into the operating system below a folder, which goes on with
// the run when it starts.
func (s *runServer) settle(ctx context.Context, folder string) error {
	system, err := resident.Look(folder)
	if err != nil {
		return err
	}
	t := s.o.Tasks
	name := system.Program(t.Facts.Architecture)
	return resident.Put(ctx, resident.Options{
		System: system, Environment: t.Machine.Environment(), Programs: t.Machine.Programs(),
		Settings: resident.Settings{Server: s.o.Boot.Server, Pin: s.o.Boot.Pin, Ticket: s.run.Ticket, MAC: s.o.Boot.MAC, Run: s.run.ID},
		Fetch:    func(ctx context.Context, to string) error { return s.fetchAgent(ctx, name, to) },
	})
}

// fetchAgent brings the agent's program for a system. A server that has none was
// built without them; a system of the same kind then takes the program that runs.
func (s *runServer) fetchAgent(ctx context.Context, name, to string) error {
	for _, f := range s.run.Agents {
		if f.Name != name {
			continue
		}
		for began := time.Now(); ; {
			err := s.download(ctx, f, to)
			if _, refused := errors.AsType[*protocol.Problem](err); err == nil || refused || time.Since(began) > beginPatience {
				return err
			}
			s.o.Say(fmt.Sprintf("the agent is fetched again: %v", err))
			if !client.Sleep(ctx, beginPause) {
				return context.Cause(ctx)
			}
		}
	}
	if name != runtime.GOOS+"-"+runtime.GOARCH {
		return fmt.Errorf("the server has no agent for %s: build castpoint with make build, which puts the agents into it", name)
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(own)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = writeProgram(to, in)
	return err
}

// download fetches a program and compares it with its hash.
func (s *runServer) download(ctx context.Context, f protocol.File, to string) error {
	res, err := s.client.Request(ctx, http.MethodGet, protocol.PathAgent+url.PathEscape(f.Name), s.run.Ticket, nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := writeProgram(to, io.LimitReader(res.Body, f.Size+1))
	if err == nil && got != f.SHA256 {
		err = fmt.Errorf("the agent for %s that %s sends has a SHA-256 of %.16s, want %.16s", f.Name, s.client.Address(), got, f.SHA256)
	}
	return err
}

// writeProgram writes a program, durably, and returns its SHA-256.
func writeProgram(to string, from io.Reader) (digest string, err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), from)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// ContinueOptions are what the agent needs that goes on with a run in the operating
// system on the disk.
type ContinueOptions struct {
	// Settings is the path of the settings that the boot environment has left.
	Settings string
	Tasks    TaskOptions
	// Say tells a person one line; Report is told of receives. Both may be nil.
	Say    func(string)
	Report func(agent.Event)
	Log    *zap.Logger
}

// Continue goes on with the run that the settings name, in the operating system on the
// disk, until it ends or the machine has to restart, and takes the agent out of the
// system when the run is over. It returns what the machine does then: restart, switch
// itself off (protocol.AfterReboot, AfterPoweroff), or "" for nothing.
func Continue(ctx context.Context, o ContinueOptions) (after string, err error) {
	s, err := resident.ReadSettings(o.Settings)
	if err != nil {
		return "", err
	}
	ro := Options{Boot: Boot{Server: s.Server, Pin: s.Pin, Token: s.Ticket, MAC: s.MAC}, Say: o.Say, Report: o.Report, Log: o.Log, Tasks: &o.Tasks}
	ro.setDefaults()
	c, err := client.New(s.Server, s.Pin, client.HardwareAddresses(s.MAC))
	if err != nil {
		return "", err
	}
	defer c.Close()
	after, err = o.run(ctx, c, ro)
	if over(err) || errors.Is(err, errGone) {
		// The run has ended while this machine was away, or another one has begun.
		ro.Say(fmt.Sprintf("the server has nothing more for this machine: %v", err))
		step.Forget(o.Tasks.Machine, s.Run)
		after = ""
	} else if err != nil || after == afterAgain {
		return protocol.AfterReboot, err
	}
	if after != protocol.AfterReboot && after != protocol.AfterPoweroff {
		after = ""
	}
	return after, resident.Remove(ctx, resident.Removal{
		Kind: runtime.GOOS, Settings: o.Settings, Programs: o.Tasks.Machine.Programs(), Restarts: after != "",
	})
}

// afterAgain says that the machine restarts and the run goes on then.
const afterAgain = "again"

// over says whether an error means that the run is none of this machine's any more.
func over(err error) bool {
	p, ok := errors.AsType[*protocol.Problem](err)
	return ok && p.Code == protocol.CodeTicketUnknown
}

// run goes on with the run, and returns what comes then.
func (o *ContinueOptions) run(ctx context.Context, c *client.Client, ro Options) (after string, err error) {
	if err := inventory(ctx, c, ro, -1); err != nil {
		ro.Log.Warn("inventory not reported", zap.Error(err))
	}
	req := protocol.RunRequest{Environment: o.Tasks.Machine.Environment(), Facts: o.Tasks.Facts, Run: step.FindRun(o.Tasks.Machine)}
	info, err := os.Stat(o.Settings)
	if err != nil {
		return "", err
	}
	run, err := awaitRun(ctx, c, ro, req, info.ModTime().Add(longestAbsence))
	if err != nil {
		return "", fmt.Errorf("go on with the task sequence: %w", err)
	}
	if run.Sequence == nil || run.ID == "" {
		return "", fmt.Errorf("go on with the task sequence: the answer of %s names none", c.Address())
	}
	end, err := step.Execute(ctx, step.Options{
		Run: run, Machine: o.Tasks.Machine, Server: &runServer{client: c, run: run, o: ro}, Person: o.Tasks.Person,
		Facts: o.Tasks.Facts, MAC: ro.Boot.MAC, Memory: resident.WorkBeside(o.Settings), Resident: true,
	})
	switch {
	case err != nil:
		return "", err
	case end == step.EndSucceeded:
		return run.After, nil
	case end == step.EndReboot:
		return protocol.AfterReboot, nil
	}
	return afterAgain, nil
}

// longestAbsence is how long a server is asked that does not answer: a day longer than
// it takes a ticket.
const longestAbsence = 8 * 24 * time.Hour

// errGone says that there is no such server any more.
var errGone = errors.New("the server has not answered for a week")

// awaitRun asks for the run until the server answers: the network of a system that has
// just started comes up when it does, and a server may be away for a day.
func awaitRun(ctx context.Context, c *client.Client, o Options, req protocol.RunRequest, until time.Time) (*protocol.Run, error) {
	said := ""
	for pause := beginPause; ; pause = min(2*pause, lastBeginPause) {
		run := &protocol.Run{}
		err := c.Call(ctx, http.MethodPost, protocol.PathRun, o.Boot.Token, req, run)
		if err == nil {
			return run, nil
		}
		if over(err) || ctx.Err() != nil {
			return nil, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%w: %w", errGone, err)
		}
		if text := err.Error(); text != said {
			said = text
			o.Say("the server is asked again: " + text)
		}
		if !client.Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}
