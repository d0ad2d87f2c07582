package main

import (
	"strings"
	"testing"

	"castpoint/cmd/castpoint/cli"
)

// Every command that is to have --watch is there.
func TestWatched(t *testing.T) {
	root := newRoot()
	for _, path := range cli.Watched {
		c, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || c.Flags().Lookup("watch") == nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
