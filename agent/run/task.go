package run

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/receive"
	"castpoint/agent/step"
	"castpoint/deploy/sequence"
)

// TaskOptions are what a machine needs to run task sequences.
type TaskOptions struct {
	Machine step.Machine
	Person  step.Person
	Facts   sequence.Facts
}

// Tuning of runs.
const (
	orderWait   = 25 * time.Second // how long the server holds a question for orders
	logPatience = 2 * time.Minute  // for the upload of one log

	beginPatience = 10 * time.Minute // for a server that does not answer
	beginPause    = 3 * time.Second
	// lastBeginPause is the longest pause in the system on the disk, which waits for
	// its server as long as it takes.
	lastBeginPause = 30 * time.Second
)

// inventory tells the server what this machine is. A server that does not want to hear
// it does without; one that is not there is asked for patience, and then is the error.
func inventory(ctx context.Context, c *client.Client, o Options, patience time.Duration) error {
	if o.Tasks == nil {
		return nil
	}
	err := o.reached(ctx, patience, func() error {
		return c.Call(ctx, http.MethodPost, protocol.PathInventory, o.Boot.Token, o.Tasks.Facts, nil)
	})
	if client.Silent(err) {
		return err
	}
	if err != nil {
		o.Log.Warn("inventory not reported", zap.Error(err))
	}
	return nil
}

// runTask runs the task sequence that a policy offers, and returns what the machine
// does then.
func runTask(ctx context.Context, c *client.Client, p *protocol.Policy, o Options) (after string, err error) {
	t := o.Tasks
	req := protocol.RunRequest{Environment: t.Machine.Environment(), Facts: t.Facts, Run: step.FindRun(t.Machine)}
	offer, err := choose(ctx, t.Person, p.Offers)
	if err != nil {
		return "", err
	}
	run, err := beginOffer(ctx, c, o, offer, req)
	if errors.Is(err, errDeclined) {
		o.Say(err.Error() + "; this machine restarts")
		return protocol.AfterReboot, nil
	}
	if err != nil {
		return "", fmt.Errorf("begin the task sequence: %w", err)
	}
	if run.Sequence == nil || run.ID == "" {
		return "", fmt.Errorf("begin the task sequence: the answer of %s names none", c.Address())
	}
	s := &runServer{client: c, run: run, o: o}
	end, err := step.Execute(ctx, step.Options{
		Run: run, Machine: t.Machine, Server: s, Person: t.Person,
		Facts: t.Facts, MAC: o.Boot.MAC, Memory: filepath.Join(o.Folder, "castpoint"), Continue: s.settle,
	})
	if err != nil {
		return "", err
	}
	if end == step.EndSucceeded {
		return run.After, nil
	}
	return protocol.AfterReboot, nil
}

// beginRun asks for the run until there is an answer. The token is good once, so
// the repetitions show by their nonce that they are this machine's.
func beginRun(ctx context.Context, c *client.Client, o Options, req protocol.RunRequest) (*protocol.Run, error) {
	req.Nonce = rand.Text()
	for began := time.Now(); ; {
		run := &protocol.Run{}
		err := c.Call(ctx, http.MethodPost, protocol.PathRun, o.Boot.Token, req, run)
		if err == nil {
			return run, nil
		}
		if _, refused := errors.AsType[*protocol.Problem](err); refused || time.Since(began) > beginPatience {
			return nil, err
		}
		o.Say(fmt.Sprintf("the server is asked again: %v", err))
		if !client.Sleep(ctx, beginPause) {
			return nil, context.Cause(ctx)
		}
	}
}

// errDeclined says that a person at the machine did not want what it was offered.
var errDeclined = errors.New("nobody has said yes at this machine")

// wrongPause is between a wrong password and the next question for it.
const wrongPause = time.Second

// beginOffer begins an offer, and asks the person at the machine what the offer wants of
// them: a password until it is the right one.
func beginOffer(ctx context.Context, c *client.Client, o Options, offer *protocol.RunOffer, req protocol.RunRequest) (*protocol.Run, error) {
	req.Deployment = offer.Deployment
	if offer.Resume || !offer.Confirm && !offer.Password {
		return beginRun(ctx, c, o, req)
	}
	if offer.Confirm {
		q := sequence.Question{Variable: "confirm", Choices: []string{"no", "yes"},
			Prompt: fmt.Sprintf("%s (%s): all on this machine's disk may be lost. Begin?", offer.Name, offer.Sequence)}
		answers, err := o.Tasks.Person.Ask(ctx, []sequence.Question{q})
		if err != nil {
			return nil, fmt.Errorf("ask at the machine: %w", err)
		}
		if req.Confirmed = answers[q.Variable] == "yes"; !req.Confirmed {
			return nil, fmt.Errorf("%s does not begin: %w", offer.Name, errDeclined)
		}
	}
	if !offer.Password {
		return beginRun(ctx, c, o, req)
	}
	for q := (sequence.Question{Variable: "password", Prompt: "Password of " + offer.Name, Secret: true}); ; {
		answers, err := o.Tasks.Person.Ask(ctx, []sequence.Question{q})
		if err != nil {
			return nil, fmt.Errorf("ask at the machine: %w", err)
		}
		req.Password = answers[q.Variable]
		run, err := beginRun(ctx, c, o, req)
		if p, ok := errors.AsType[*protocol.Problem](err); !ok || p.Code != protocol.CodePassword {
			return run, err
		}
		o.Say("the password is wrong")
		q.Prompt = "That was wrong. Password of " + offer.Name
		if !client.Sleep(ctx, wrongPause) {
			return nil, context.Cause(ctx)
		}
	}
}

// choose takes one of the offers: the one that is required or was begun, else the
// one that a person wants.
func choose(ctx context.Context, person step.Person, offers []protocol.RunOffer) (*protocol.RunOffer, error) {
	if len(offers) == 0 {
		return nil, errors.New("the server offers this machine no task sequence")
	}
	taken := -1
	for i, o := range offers {
		if o.Resume || o.Required && taken < 0 {
			taken = i
		}
		if o.Resume {
			break
		}
	}
	if taken < 0 {
		var err error
		if taken, err = askOffer(ctx, person, offers); err != nil {
			return nil, err
		}
	}
	return &offers[taken], nil
}

// askOffer has a person choose.
func askOffer(ctx context.Context, person step.Person, offers []protocol.RunOffer) (int, error) {
	q := sequence.Question{Variable: "offer", Prompt: "What is to be installed?"}
	for i := range offers {
		q.Choices = append(q.Choices, choice(&offers[i]))
	}
	answers, err := person.Ask(ctx, []sequence.Question{q})
	if err != nil {
		return 0, fmt.Errorf("ask at the machine: %w", err)
	}
	for i := range offers {
		if q.Choices[i] == answers["offer"] {
			return i, nil
		}
	}
	return 0, agent.Errorf(agent.ErrRefused, "nothing was chosen at the machine")
}

// maxChoice bounds a line of the menu, in characters, for screens of 80 columns.
const maxChoice = 70

// choice is an offer as people choose it: its name and what is said of it.
func choice(o *protocol.RunOffer) string {
	text := o.Name
	if said := strings.Join(strings.Fields(o.Description), " "); said != "" {
		text += ": " + said
	}
	if r := []rune(text); len(r) > maxChoice {
		text = string(r[:maxChoice-3]) + "..."
	}
	return text
}

// runServer is the server as a run sees it.
type runServer struct {
	client *client.Client
	run    *protocol.Run
	o      Options
	pause  time.Duration // before a server that is not there is asked again; 0 means beginPause
}

func (s *runServer) call(ctx context.Context, method, path string, body, answer any) error {
	return s.client.Call(ctx, method, path, s.run.Ticket, body, answer)
}

// Step implements step.Server.
func (s *runServer) Step(ctx context.Context, status protocol.StepStatus) (order protocol.Order, err error) {
	return order, s.call(ctx, http.MethodPost, protocol.PathStep, status, &order)
}

// End implements step.Server.
func (s *runServer) End(ctx context.Context, e protocol.RunEnd) error {
	return s.call(ctx, http.MethodPost, protocol.PathEnd, e, nil)
}

// Order implements step.Server.
func (s *runServer) Order(ctx context.Context) (order protocol.Order, err error) {
	return order, s.call(ctx, http.MethodGet, protocol.PathOrder+"?wait="+orderWait.String(), nil, &order)
}

// Ask implements step.Server.
func (s *runServer) Ask(ctx context.Context, q protocol.Questions) error {
	return s.call(ctx, http.MethodPost, protocol.PathQuestions, q, nil)
}

// TakeBack implements step.Server.
func (s *runServer) TakeBack(ctx context.Context, q protocol.Questions) error {
	return s.call(ctx, http.MethodDelete, protocol.PathQuestions, q, nil)
}

// Answer implements step.Server.
func (s *runServer) Answer(ctx context.Context, a protocol.Answers) error {
	return s.call(ctx, http.MethodPost, protocol.PathAnswers, a, nil)
}

// Log implements step.Server.
func (s *runServer) Log(ctx context.Context, name string, r io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	return s.client.Put(ctx, protocol.PathLog+url.PathEscape(name), s.run.Ticket, io.LimitReader(r, protocol.MaxLog))
}

// Receive implements step.Server. A server that is not there is waited for, as in all
// that a run does.
func (s *runServer) Receive(ctx context.Context, w step.Wanted) error {
	w.Patience = cmp.Or(w.Patience, sequence.Patience)
	for began := time.Now(); ; {
		err := s.receive(ctx, w)
		if err == nil || !client.Away(err) || time.Since(began) > w.Patience {
			return err
		}
		s.o.Say(fmt.Sprintf("the server is asked again: %v", err))
		if !client.Sleep(ctx, cmp.Or(s.pause, beginPause)) {
			return context.Cause(ctx)
		}
	}
}

// receive brings a content to its place. One that may not be sent by multicast comes
// file by file. When somebody ends the session, or this machine's part in it, the rest
// comes by unicast where it may.
func (s *runServer) receive(ctx context.Context, w step.Wanted) error {
	only := w.From == sequence.FromMulticast
	if !w.Content.Method.Multicast && !only {
		f := &receive.Files{Client: s.client, Ticket: s.run.Ticket, Patience: w.Patience, Percent: w.Percent}
		return f.Fetch(ctx, w.Content, w.Out)
	}
	err := s.join(ctx, w, w.From == sequence.FromUnicast)
	p, ok := errors.AsType[*protocol.Problem](err)
	if !ok || p.Code != protocol.CodeSessionEnded {
		return err
	}
	if only || w.Content.Method.MulticastOnly {
		return fmt.Errorf("%w; it may come by multicast only, so it does not go on by unicast", err)
	}
	s.o.Say(fmt.Sprintf("%v: the rest comes by unicast", err))
	return s.join(ctx, w, true)
}

// join receives a content as a member of its session; alone takes all of it by
// unicast.
func (s *runServer) join(ctx context.Context, w step.Wanted, alone bool) error {
	var grant protocol.Grant
	if err := s.call(ctx, http.MethodPost, protocol.PathContent+url.PathEscape(w.Content.ID), nil, &grant); err != nil {
		return err
	}
	_, err := receive.Receive(ctx, receive.Options{
		Server: s.o.Boot.Server, Pin: s.o.Boot.Pin, Token: grant.Token, Content: grant.Content,
		Out: w.Out, Force: true, Name: s.run.Device, MAC: s.o.Boot.MAC, Patience: w.Patience, Log: s.o.Log,
		NoUnicast: w.From == sequence.FromMulticast, NoMulticast: alone,
		Report: func(e agent.Event) {
			s.o.Report(e)
			if e.Total > 0 {
				w.Percent(float64(e.Blocks) / float64(e.Total) * 100)
			}
			switch e.Kind {
			case agent.EventAway, agent.EventNoDatagrams, agent.EventUnicast, agent.EventInjected, agent.EventAgain:
				s.o.Say(strings.Join(append([]string{e.Message}, e.Advice...), "; "))
			}
		},
	})
	return err
}
