package runs

import (
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// StepOf is what is kept of a status.
func StepOf(s *protocol.StepStatus, leaf *sequence.Leaf, before *StepRecord, now time.Time) StepRecord {
	kind, _ := leaf.Step.Action()
	step := StepRecord{
		Path: s.Path, Number: leaf.Number, Name: leaf.Step.Title(), Kind: kind, State: s.State, Attempt: max(1, s.Attempt),
		Percent: min(100, max(0, s.Percent)), ExitCode: s.ExitCode, Message: Line(s.Message), Advice: Line(s.Advice),
		Output: cut(strings.ToValidUTF8(s.Output, "?"), protocol.MaxTail), Continue: s.Continue, Started: now,
	}
	if before.Path == s.Path && !before.Started.IsZero() && !before.Over() && before.State != protocol.StepFailed {
		step.Started = before.Started
	} else if s.Seconds > 0 {
		step.Started = now.Add(-time.Duration(s.Seconds * float64(time.Second)))
	}
	if s.State == protocol.StepDone || s.State == protocol.StepFailed || s.State == protocol.StepSkipped {
		step.Ended = now
	}
	return step
}

// Line makes a machine's text fit for one line.
func Line(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.TrimSpace(s); len(s) > protocol.MaxMessage {
		s = strings.ToValidUTF8(s[:protocol.MaxMessage], "")
	}
	return s
}

// Next is the step to go on with, and whether it had started.
func Next(seq *sequence.Sequence, steps []StepRecord) (path string, interrupted bool) {
	known := make(map[string]*StepRecord, len(steps))
	for i := range steps {
		known[steps[i].Path] = &steps[i]
	}
	for _, l := range seq.Leaves() {
		s := known[l.Path]
		switch {
		case s == nil || s.State == "":
			return l.Path, false
		case !s.Over():
			return l.Path, s.State != protocol.StepFailed
		}
	}
	return "", false
}

// stepTail bounds what is kept of a step's output.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[len(s)-limit:]
}

// SortSteps puts steps in the order of their numbers.
func SortSteps(list []StepRecord) {
	slices.SortFunc(list, func(a, b StepRecord) int { return a.Number - b.Number })
}
