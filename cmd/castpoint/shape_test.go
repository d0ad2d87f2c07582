package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsThatShow: what lists or shows something prints JSON as well, and goes on to
// show it where it changes by itself.
func TestCommandsThatShow(t *testing.T) {
	// Of files, of what the program brings along, and of what nobody changes meanwhile.
	still := []string{"wim list", "bcd show", "config show", "sequence show"}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			visit(child)
		}
		if !c.Runnable() || c.Hidden {
			return
		}
		path := strings.TrimPrefix(c.CommandPath(), "castpoint ")
		if !slices.Contains([]string{"list", "show", "status", "leases", "level", "audit"}, c.Name()) {
			return
		}
		if c.Flags().Lookup("json") == nil {
			t.Errorf("castpoint %s has no --json", path)
		}
		if c.Flags().Lookup("watch") == nil && !slices.Contains(still, path) {
			t.Errorf("castpoint %s has no --watch", path)
		}
	}
	visit(newRoot())
}

// TestCompletionOfNames: every command whose first argument names something on record
// completes it.
func TestCompletionOfNames(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			visit(child)
		}
		words := strings.Fields(c.Use)
		if !c.Runnable() || len(words) < 2 || !slices.Contains([]string{"ID", "RUN", "DEVICE", "[ID]", "CONTENT"}, words[1]) {
			return
		}
		if c.ValidArgsFunction == nil {
			t.Errorf("%s does not complete %s", c.CommandPath(), words[1])
		}
	}
	visit(newRoot())
}
