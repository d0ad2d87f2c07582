package server

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/point/logging"
	"castpoint/point/settings"
	"castpoint/web/call"
)

// NewServe is the command that is a distribution point.
func NewServe(o *cli.Options) *cobra.Command {
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
			read := func() (*settings.Settings, error) { return settings.Read(path, cmd.Flags()) }
			s, err := read()
			if err != nil {
				return command.Usage("%w", err)
			}
			log, levels, err := logging.New(s.Config(), cmd.ErrOrStderr())
			if err != nil {
				return command.Usage("%w", err)
			}
			// The threads of the TFTP server wait in the kernel, each in a place of the
			// scheduler. There is one for each processor and one for everybody else.
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return point.Serve(ctx, point.Options{
				Build: o.Build, Settings: s, Read: read, Log: log, Levels: levels,
				Announce: func(s *point.Summary) error { return printSummary(cmd.OutOrStdout(), s) },
				Doctor: func(ctx context.Context, api *call.Client, cfg *config.Config, file string) ([]doctor.Finding, error) {
					t, err := nearTarget(ctx, &cli.Options{Data: cfg.Data, Here: api}, cfg, file)
					if err != nil {
						return nil, err
					}
					return doctor.Run(ctx, t), nil
				},
			})
		},
	}
	flags := config.Default()
	settings.Flags(c.Flags(), &flags)
	cli.ConfigFlag(c, &path)
	return c
}

// printSummary writes what a server says when it has begun.
func printSummary(out io.Writer, s *point.Summary) error {
	fmt.Fprintln(out, s.Title)
	for _, part := range s.Sections {
		fmt.Fprintf(out, "\n%s\n", part.Title)
		for i := range part.Rows {
			part.Rows[i][0] = "  " + part.Rows[i][0]
		}
		if err := terminal.Table(out, part.Rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
