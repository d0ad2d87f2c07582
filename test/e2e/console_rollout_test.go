package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
	"castpoint/test/browser"
	"castpoint/test/client"
)

// askingSequence is written into the console.
const askingSequence = `name: asking
description: Asks, applies, restarts
steps:
  - {name: Room, ask: {questions: [{variable: Room, prompt: "Which room?", choices: ["101", "102"]}]}}
  - {name: Disk, partition-disk: {layout: linux}}
  - {name: Image, apply-image: {content: image, target: Root}}
  - {name: End, restart: {into: disk}}
`

// told is a simulated machine that says of each step what it is told to.
type told struct {
	*client.Agent
	run protocol.Run
}

// say reports a step by its number.
func (m *told) say(ctx context.Context, number int, s protocol.StepStatus) error {
	leaves := m.run.Sequence.Leaves()
	l := leaves[number-1]
	s.Kind, _ = l.Step.Action()
	s.Run, s.Path, s.Number, s.Total, s.Name, s.Environment = m.run.ID, l.Path, l.Number, len(leaves), l.Step.Title(), sequence.EnvironmentLinux
	return m.Call(ctx, http.MethodPost, protocol.PathStep, m.run.Ticket, s, nil)
}

// order waits for one of a kind, as an agent does that stands there.
func (m *told) order(ctx context.Context, kind string) (o protocol.Order, err error) {
	for err == nil && o.Kind != kind {
		err = m.Call(ctx, http.MethodGet, protocol.PathOrder+"?wait=5s", m.run.Ticket, nil, &o)
	}
	return o, err
}

// A deployment is made and followed in the console: the sequence is written, the
// collection made, a machine waits, asks, runs step by step, fails, is told to try
// again, and succeeds. The machine says what an agent says. No page is loaded again
// while something happens on it.
func TestRolloutInBrowser(t *testing.T) {
	p, machines := rollout(t, 2)
	const password = "two in the morning"
	sh(t, p.Network.Server, fmt.Sprintf("echo %q | %s access user add anna --scope admin --data %s", password, p.Binary, p.Data))
	if _, err := p.Run(t.Context(), "deployment", "remove", "simulated", "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "off", "--tftp=false")
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()

	machine := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("the machine, %s: %v", what, err)
		}
	}

	v := openPage(t, p, "/sequences/add", "deployment")
	v.login("anna", password)
	v.text("Write a task sequence")
	v.do("write a sequence", typed("[name=text]", "name: asking"), click("[value=keep]"))
	v.text("It cannot be used yet")
	if _, err := browser.Eval[bool](v.Browser, fmt.Sprintf("document.querySelector('[name=text]').value = %q, true", askingSequence)); err != nil {
		t.Fatal(err)
	}
	v.do("keep it", click("[value=keep]"))
	v.text("Kept asking, revision 1")
	v.open("/collections")
	v.do("make a collection", click("details.panel summary"), typed("[name=name]", "Two machines"), typed("[name=devices]", "sim-0 sim-1"), click(".fields button"))
	v.text("Made the collection Two machines")
	v.do("deploy to it", click(".tools a.button"))
	v.text("Who begins")
	v.do("make the deployment", typed("[name=name]", "Evening"), chromedp.SetValue(chromedp.CSS("[name=sequence]"), "asking"), click("[value=required]"), click(".fields > button"))
	v.text("Made the deployment Evening")

	// The machines wait.
	v.text(`sim-0\s+waiting[\s\S]*sim-1\s+waiting`)
	v.shoot("waiting")

	m := &told{Agent: machines[0]}
	var err error
	m.run, err = m.Begin(ctx)
	machine("boots", err)
	if n := len(m.run.Sequence.Leaves()); n != 4 {
		t.Fatalf("%d steps", n)
	}
	machine("asks", m.say(ctx, 1, protocol.StepStatus{State: protocol.StepStarted}))
	questions := m.run.Sequence.Leaves()[0].Step.Ask.Questions
	machine("asks", m.Call(ctx, http.MethodPost, protocol.PathQuestions, m.run.Ticket, protocol.Questions{Run: m.run.ID, Path: m.run.Sequence.Leaves()[0].Path, Questions: questions}, nil))
	v.text(`1 asking[\s\S]*sim-0\s+asking`)
	v.do("open the run", click("tbody td:nth-child(5) a"))
	v.text("Which room\\?")
	v.do("answer", chromedp.SetValue(chromedp.CSS("[name='answer.Room']"), "102"))
	v.shoot("asks")
	v.do("answer", click("form[action$='/answers'] button"))
	v.text("Answered")
	o, err := m.order(ctx, protocol.OrderAnswer)
	machine("gets the answer", err)
	if o.Answers["Room"] != "102" {
		t.Errorf("the machine was told %+v", o)
	}
	machine("goes on", m.say(ctx, 1, protocol.StepStatus{State: protocol.StepDone, Percent: 100, Variables: map[string]protocol.VariableValue{"Room": {Value: "102"}}}))
	machine("goes on", m.say(ctx, 2, protocol.StepStatus{State: protocol.StepDone, Percent: 100}))
	machine("applies", m.say(ctx, 3, protocol.StepStatus{State: protocol.StepStarted}))
	v.text(`step 3 of 4, Image`)
	for _, percent := range []float64{10, 60} {
		machine("applies", m.say(ctx, 3, protocol.StepStatus{State: protocol.StepProgress, Percent: percent, Message: "writing files"}))
		v.text(fmt.Sprintf(`Image[^\n]*\s+running\s+%.0f %%[\s\S]*End[^\n]*\s+to come`, percent))
	}
	v.shoot("running")

	code := 28
	machine("fails", m.say(ctx, 3, protocol.StepStatus{State: protocol.StepFailed, ExitCode: &code, Message: "no space left on /dev/sda2", Advice: "make the partition larger", Output: "writing usr/lib/libc.so.6\nno space left on device\n"}))
	machine("fails", m.Call(ctx, http.MethodPost, protocol.PathEnd, m.run.Ticket, protocol.RunEnd{Run: m.run.ID, State: protocol.RunFailed, Message: "no space left on /dev/sda2", Path: m.run.Sequence.Leaves()[2].Path}, nil))
	v.text(`Step 3 failed: Image[\s\S]*no space left on /dev/sda2[\s\S]*What to do: make the partition larger[\s\S]*libc\.so\.6`)
	v.shoot("failed")
	run, err := browser.Eval[string](v.Browser, "location.pathname")
	if err != nil {
		t.Fatal(err)
	}
	v.open("/")
	v.text("1 thing is wrong[\\s\\S]*Evening: 1 machine has failed, at step 3, Image")
	v.shoot("overview")
	v.do("see why", click(".todo a.button"))
	v.text(`sim-0\s+failed[\s\S]*no space left`)

	v.open(run)
	v.do("try again", click("form[action$='/retry'] button"))
	v.text("The machine tries again")
	o, err = m.order(ctx, protocol.OrderRetry)
	machine("is told to try again", err)
	if o.Path != m.run.Sequence.Leaves()[2].Path {
		t.Errorf("again from %q", o.Path)
	}
	machine("tries again", m.say(ctx, 3, protocol.StepStatus{State: protocol.StepStarted, Attempt: 2}))
	v.text(`Image[^\n]*\s+running\s+attempt 2`)
	machine("tries again", m.say(ctx, 3, protocol.StepStatus{State: protocol.StepDone, Percent: 100, Attempt: 2}))
	machine("ends", m.say(ctx, 4, protocol.StepStatus{State: protocol.StepDone, Percent: 100}))
	machine("ends", m.Call(ctx, http.MethodPost, protocol.PathEnd, m.run.Ticket, protocol.RunEnd{Run: m.run.ID, State: protocol.RunSucceeded}, nil))
	v.text(`sim-0\s+succeeded[\s\S]*100 %`)
	v.shoot("succeeded")

	// The other one is followed on the page of the deployment.
	v.do("the deployment", click(".crumbs a:last-child"))
	v.text(`sim-1\s+waiting`)
	other := &told{Agent: machines[1]}
	other.run, err = other.Begin(ctx)
	machine("boots", err)
	for number := 1; number <= 4; number++ {
		machine("runs", other.say(ctx, number, protocol.StepStatus{State: protocol.StepStarted}))
		v.text(fmt.Sprintf(`sim-1\s+running[\s\S]*%d of 4`, number))
		machine("runs", other.say(ctx, number, protocol.StepStatus{State: protocol.StepDone, Percent: 100}))
	}
	machine("ends", other.Call(ctx, http.MethodPost, protocol.PathEnd, other.run.Ticket, protocol.RunEnd{Run: other.run.ID, State: protocol.RunSucceeded}, nil))
	v.text(`2 succeeded[\s\S]*sim-1\s+succeeded`)
	v.shoot("done")
	for _, m := range machines {
		m.Close()
	}
}
