package step

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// do runs one action.
func (e *engine) do(ctx context.Context, action sequence.Action) (outcome, error) {
	only := func(err error) (outcome, error) { return outcome{}, err }
	switch a := action.(type) {
	case *sequence.PartitionDisk:
		return e.partition(ctx, a)
	case *sequence.WipeDisk:
		return only(e.wipe(ctx, a))
	case *sequence.ApplyImage:
		return only(e.applyImage(ctx, a))
	case *sequence.ApplyDataImage:
		return only(e.applyData(ctx, a))
	case *sequence.InstallBootloader:
		return only(e.bootloader(ctx, a))
	case *sequence.ApplyDrivers:
		return only(e.drivers(ctx, a))
	case *sequence.WindowsSettings:
		return only(e.windowsSettings(ctx, a))
	case *sequence.NetworkSettings:
		return only(e.networkSettings(ctx, a))
	case *sequence.JoinDomain:
		return only(e.joinDomain(ctx, a))
	case *sequence.InstallPackage:
		return e.installPackage(ctx, a)
	case *sequence.RunCommand:
		return e.runCommand(ctx, a)
	case *sequence.RunPowerShell:
		return e.runPowerShell(ctx, a)
	case *sequence.SetVariable:
		return outcome{variables: map[string]protocol.VariableValue{a.Name: {Value: a.Value, Secret: a.Secret}}}, nil
	case *sequence.SetDynamicVariables:
		return e.setDynamic(ctx, a)
	case *sequence.DownloadContent:
		return e.download(ctx, a)
	case *sequence.CopyLog:
		return only(e.copyLog(ctx, a))
	case *sequence.Restart:
		return e.showRestart(ctx, a)
	case *sequence.CheckReadiness:
		return only(e.checkReadiness(ctx, a))
	case *sequence.Ask:
		return e.ask(ctx, a)
	case *sequence.EnableBitLocker:
		return e.enableBitLocker(ctx, a)
	case *sequence.SuspendBitLocker:
		drive, err := e.drive(ctx, a.Volume)
		if err != nil {
			return only(err)
		}
		return only(e.o.Machine.SuspendBitLocker(ctx, drive, a.Restarts))
	case *sequence.PrepareCapture:
		return only(e.prepareCapture(ctx, a))
	case *sequence.CaptureImage:
		return only(e.capture(ctx, a))
	case *sequence.Wait:
		return only(e.wait(ctx, a))
	}
	return only(fmt.Errorf("this agent does not know the step: build the boot image again with the agent of the server's version"))
}

// setDynamic sets variables by rules.
func (e *engine) setDynamic(ctx context.Context, a *sequence.SetDynamicVariables) (outcome, error) {
	done := outcome{variables: make(map[string]protocol.VariableValue)}
	for i := range a.Rules {
		r := &a.Rules[i]
		fits, err := r.Fits(e.scope(ctx))
		if err != nil {
			return done, fmt.Errorf("rule %d: %w", i+1, err)
		}
		if !fits {
			continue
		}
		for name, text := range r.Variables {
			done.variables[name] = protocol.VariableValue{Value: text}
		}
		if a.First {
			break
		}
	}
	return done, nil
}

// showRestart announces a restart, which comes when the step has been reported.
func (e *engine) showRestart(ctx context.Context, a *sequence.Restart) (outcome, error) {
	text := a.Message
	if text == "" {
		text = "this machine restarts"
	}
	e.say("%s", text)
	if !sleep(ctx, time.Duration(a.Delay)) {
		return outcome{}, context.Cause(ctx)
	}
	return outcome{restart: a.Into}, nil
}

// defaultEvery is how often a wait tries its expression.
const defaultEvery = 5 * time.Second

func (e *engine) wait(ctx context.Context, a *sequence.Wait) error {
	if a.Until == "" {
		if !sleep(ctx, time.Duration(a.For)) {
			return context.Cause(ctx)
		}
		return nil
	}
	every := time.Duration(a.Every)
	if every == 0 {
		every = defaultEvery
	}
	var limit <-chan time.Time
	if a.For > 0 {
		t := time.NewTimer(time.Duration(a.For))
		defer t.Stop()
		limit = t.C
	}
	for {
		ok, _, err := sequence.Condition{a.Until}.Holds(e.scope(ctx))
		if ok || err != nil {
			return err
		}
		select {
		case <-limit:
			return fmt.Errorf("%s has not come true within %s", a.Until, a.For)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(every):
		}
	}
}

// ask asks the person at the machine, the one at the console, or both: the first
// answer counts.
func (e *engine) ask(ctx context.Context, a *sequence.Ask) (outcome, error) {
	questions := append([]sequence.Question(nil), a.Questions...)
	for i := range questions {
		questions[i].Secret = questions[i].Secret || e.secret(questions[i].Variable)
		if questions[i].Default == "" {
			questions[i].Default = e.state.Variables[questions[i].Variable].Value
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	here := make(chan map[string]string, 1)
	failed := make(chan error, 2)
	q := protocol.Questions{Run: e.o.Run.ID, Path: e.state.Running, Questions: shown(questions)}
	if a.At != sequence.AtMachine {
		e.dropAnswers() // they were for questions that somebody at the machine has answered first
		if err := e.tell(ctx, "put the questions to the console", func(ctx context.Context) error { return e.o.Server.Ask(ctx, q) }); err != nil {
			return outcome{}, err
		}
		// Nobody asks for orders any more when the step is over: one that comes then is
		// for the run.
		var polling sync.WaitGroup
		defer func() { cancel(); polling.Wait() }()
		polling.Go(func() {
			// The answer of the order is taken by take; errors are tried again.
			for ctx.Err() == nil {
				order, err := e.o.Server.Order(ctx)
				if err != nil {
					sleep(ctx, firstPause)
					continue
				}
				e.take(order)
			}
		})
		defer func() { _ = e.o.Server.TakeBack(context.WithoutCancel(ctx), q) }()
	}
	if a.At != sequence.AtConsole {
		go func() {
			answers, err := e.o.Person.Ask(ctx, questions)
			if err != nil {
				failed <- err
				return
			}
			here <- answers
		}()
	} else {
		e.say("waiting for an answer in the console: %s", questions[0].Prompt)
	}
	for {
		var answers map[string]string
		local := false
		select {
		case <-ctx.Done():
			return outcome{}, context.Cause(ctx)
		case err := <-failed:
			if a.At == sequence.AtMachine {
				return outcome{}, fmt.Errorf("ask at the machine: %w", err)
			}
			e.say("nobody can be asked at this machine: %v", err)
			continue
		case answers = <-e.answers:
		case answers = <-here:
			local = true
		}
		done, err := accept(questions, answers)
		if err != nil {
			e.say("%v", err)
			if local {
				return outcome{}, err
			}
			continue
		}
		if local && a.At != sequence.AtMachine {
			public := make(map[string]string)
			for name, v := range done.variables {
				if !v.Secret {
					public[name] = v.Value
				}
			}
			_ = e.o.Server.Answer(ctx, protocol.Answers{Run: q.Run, Path: q.Path, Answers: public})
		}
		return done, nil
	}
}

// shown are questions without the defaults of secret ones.
func shown(questions []sequence.Question) []sequence.Question {
	list := append([]sequence.Question(nil), questions...)
	for i := range list {
		if list[i].Secret {
			list[i].Default = ""
		}
	}
	return list
}

// accept checks answers; those that are missing are the defaults.
func accept(questions []sequence.Question, answers map[string]string) (outcome, error) {
	done := outcome{variables: make(map[string]protocol.VariableValue)}
	all := maps.Clone(answers)
	if all == nil {
		all = make(map[string]string)
	}
	for i := range questions {
		q := &questions[i]
		if _, ok := all[q.Variable]; !ok || all[q.Variable] == "" {
			all[q.Variable] = q.Default
		}
		if err := q.Accept(all[q.Variable]); err != nil {
			return done, err
		}
		done.variables[q.Variable] = protocol.VariableValue{Value: all[q.Variable], Secret: q.Secret}
	}
	return done, nil
}
