package cli

import (
	"errors"
	"io/fs"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/content/wim/integrity"
)

// refusal is the error of what is refused to protect what is there, without a
// word about that in its text.
type refusal struct{ error }

// Unwrap makes errors.Is(err, agent.ErrRefused) true.
func (r *refusal) Unwrap() []error { return []error{agent.ErrRefused, r.error} }

// missing is the error of what is not there.
type missing struct{ error }

// Unwrap makes errors.Is(err, content.ErrNotFound) true.
func (m *missing) Unwrap() []error { return []error{content.ErrNotFound, m.error} }

// partly is the error of work that was done in part.
type partly struct{ error }

// Unwrap makes errors.Is(err, agent.ErrPartly) true.
func (p *partly) Unwrap() []error { return []error{agent.ErrPartly, p.error} }

// Refused makes an error one of what is refused to protect what is there.
func Refused(err error) error { return &refusal{err} }

// NotFound makes an error one of what is not there.
func NotFound(err error) error { return &missing{err} }

// PartlyDone makes an error one of work that was done in part.
func PartlyDone(err error) error { return &partly{err} }

// ExitCode is the exit code that stands for an error: the agent's, and those of
// what only the server side knows.
func ExitCode(err error) int {
	switch {
	case errors.Is(err, agent.ErrUsage):
		return agent.ExitUsage
	case errors.Is(err, content.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return agent.ExitNotFound
	case errors.Is(err, content.ErrLocked), errors.Is(err, content.ErrExists):
		return agent.ExitRefused
	case errors.Is(err, integrity.ErrNoIntegrity):
		return agent.ExitPartly
	}
	return agent.ExitCode(err)
}
