package main

import (
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/internal/config"
)

func newServe(o *options) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "serve", Short: "Run the distribution point",
		Long: `Serve boots machines over the network and sends them images.

Without settings it serves the interface of the default route as a ProxyDHCP server:
it answers netboot clients only, beside the DHCP server that is there, and never
hands out addresses. With --dhcp server --pool FROM-TO it is the DHCP server itself.

Either everything it needs is bound, or nothing is and each obstacle is named.
SIGTERM and SIGINT stop it; a second one stops it at once.

Every flag is also a setting of the file, by the same name; flags win.`,
		Example: `  castpoint serve
  castpoint serve --interface eth1 --assign win11 --after shell
  castpoint serve --interface eth1 --dhcp server --pool 192.168.7.100-192.168.7.199 --min-members 20 --max-wait 5m
  castpoint serve --interface eth1 --interface eth2 --share --deny 52:54:00:aa:bb:cc`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read := func() (*settings, error) { return readSettings(path, cmd.Flags()) }
			s, err := read()
			if err != nil {
				return command.Usage("%w", err)
			}
			log, levels, err := newLog(s.cfg, cmd.ErrOrStderr())
			if err != nil {
				return command.Usage("%w", err)
			}
			// The threads of the TFTP server wait in the kernel, each in a place of the
			// scheduler. There is one for each processor and one for everybody else.
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return serve(ctx, s, read, log, levels, cmd.OutOrStdout())
		},
	}
	flags := config.Default()
	serveFlags(c.Flags(), &flags)
	configFlag(c, &path)
	return c
}

// serveConfig is the file with the flags that were given over it.
func serveConfig(path string, given *pflag.FlagSet) (config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return cfg, err
	}
	over := pflag.NewFlagSet("", pflag.ContinueOnError)
	serveFlags(over, &cfg)
	over.StringVar(&cfg.Data, "data", cfg.Data, "")
	given.Visit(func(f *pflag.Flag) {
		to := over.Lookup(f.Name)
		if to == nil || err != nil {
			return
		}
		if list, ok := to.Value.(pflag.SliceValue); ok {
			err = list.Replace(f.Value.(pflag.SliceValue).GetSlice())
			return
		}
		err = to.Value.Set(f.Value.String())
	})
	if err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}
