package platform

import (
	"context"
	"slices"
	"unicode/utf8"
)

// maxTyped bounds what is typed in answer to a question, in characters.
const maxTyped = 1000

// Ask asks a question on the screen and waits for its answer: one of the choices, or
// what is typed. preset is the choice that is marked at first, or what an empty
// answer stands for. accept says why an answer cannot be taken; nil takes all.
func (s *Screen) Ask(ctx context.Context, q Asking, preset string, accept func(string) error) (string, error) {
	q.At = max(slices.Index(q.Choices, preset), 0)
	if preset != "" && len(q.Choices) == 0 && !q.Secret {
		q.Text += " [" + preset + "]"
	}
	answers := make(chan string, 1)
	defer s.Update(func(st *Status) { st.Asking, s.answer = nil, nil })
	for {
		shown := q
		s.Update(func(st *Status) { st.Asking, s.answer = &shown, answers })
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case answer := <-answers:
			if answer == "" {
				answer = preset
			}
			if accept == nil {
				return answer, nil
			}
			err := accept(answer)
			if err == nil {
				return answer, nil
			}
			q.Wrong = err.Error()
		}
	}
}

// typed takes a key for the question that is asked.
func (s *Screen) typed(key Key) {
	s.Update(func(st *Status) {
		a := st.Asking
		if a == nil || s.answer == nil {
			return
		}
		switch {
		case key == KeyEnter:
			answer := a.Typed
			if len(a.Choices) > 0 {
				answer = a.Choices[a.At]
			}
			s.answer <- answer
			s.answer = nil // one answer for each time it is asked
		case key == KeyUp && len(a.Choices) > 0:
			a.At = (a.At + len(a.Choices) - 1) % len(a.Choices)
		case key == KeyDown && len(a.Choices) > 0:
			a.At = (a.At + 1) % len(a.Choices)
		case key == KeyBack && a.Typed != "":
			_, n := utf8.DecodeLastRuneInString(a.Typed)
			a.Typed = a.Typed[:len(a.Typed)-n]
		case key > 0 && len(a.Choices) == 0 && utf8.RuneCountInString(a.Typed) < maxTyped:
			a.Typed += string(rune(key))
		}
	})
}
