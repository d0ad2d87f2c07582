package main

import (
	"github.com/spf13/cobra"

	"castpoint/point"
	"castpoint/web/call"
)

// options are the flags that every command has.
type options struct {
	data   string
	json   bool
	remote remote
	build  point.Build
	here   *call.Client // of a server in this process; nil for commands
}

// addJSON gives a command that prints data the flag --json.
func (o *options) addJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}
