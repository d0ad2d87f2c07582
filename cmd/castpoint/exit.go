package main

import (
	"errors"
	"io/fs"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/content/wim"
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

func notFound(err error) error { return &missing{err} }

// exitCode is the exit code that stands for an error: the agent's, and those of
// what only the server side knows.
func exitCode(err error) int {
	switch {
	case errors.Is(err, agent.ErrUsage):
		return agent.ExitUsage
	case errors.Is(err, content.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return agent.ExitNotFound
	case errors.Is(err, content.ErrLocked), errors.Is(err, content.ErrExists):
		return agent.ExitRefused
	case errors.Is(err, wim.ErrNoIntegrity):
		return agent.ExitPartly
	}
	return agent.ExitCode(err)
}
