package main

import (
	"io"

	"castpoint/agent/facts"
	"castpoint/agent/machine"
	"castpoint/agent/platform"
	"castpoint/agent/run"
)

// newTasks is what this boot environment needs to run task sequences.
func newTasks(out io.Writer, say func(string), screen *platform.Screen) (*run.TaskOptions, error) {
	m, err := machine.New()
	if err != nil {
		return nil, err
	}
	return &run.TaskOptions{Machine: m, Facts: facts.Read(), Person: platform.NewPerson(out, say, screen)}, nil
}
