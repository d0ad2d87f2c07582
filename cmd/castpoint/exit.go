package main

import (
	"errors"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/content/wim"
)

// exitCode is the exit code that stands for an error: the agent's, and those of
// what only the server side knows.
func exitCode(err error) int {
	switch {
	case errors.Is(err, content.ErrNotFound):
		return agent.ExitNotFound
	case errors.Is(err, content.ErrLocked), errors.Is(err, content.ErrExists):
		return agent.ExitRefused
	case errors.Is(err, wim.ErrNoIntegrity):
		return agent.ExitPartly
	}
	return agent.ExitCode(err)
}
