package cli

import (
	"github.com/spf13/cobra"

	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/web/call"
)

// Options are the flags that every command has.
type Options struct {
	Data   string
	JSON   bool
	Remote remote
	Build  point.Build
	Here   *call.Client // of a server in this process; nil for commands
}

// ConfigFlag names the file of settings.
func ConfigFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", "", "`FILE` of settings (default "+config.DefaultPath+", if it exists)")
}

// AddJSON gives a command that prints data the flag --json.
func (o *Options) AddJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	return c
}
