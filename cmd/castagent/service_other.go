//go:build !windows

package main

import (
	"context"

	"castpoint/agent/command"
)

// runService is for Windows.
func runService(context.Context, string, func(context.Context) error) error {
	return command.Usage("--service is for Windows: start castagent continue without it")
}
