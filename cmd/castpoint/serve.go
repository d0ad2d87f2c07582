package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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
  castpoint serve --interface eth1 --dhcp server --pool 192.168.7.100-192.168.7.199 --min-members 20 --max-wait 5m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := serveConfig(path, cmd.Flags())
			if err != nil {
				return command.Usage("%w", err)
			}
			log, err := newLog(cfg, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return serve(ctx, cfg, log, cmd.OutOrStdout())
		},
	}
	flags := config.Default()
	serveFlags(c.Flags(), &flags)
	c.Flags().StringVar(&path, "config", "", "`FILE` of settings (default "+config.DefaultPath+", if it exists)")
	return c
}

// serveFlags makes a flag of every setting but the data folder, which is a flag
// of all commands.
func serveFlags(f *pflag.FlagSet, c *config.Config) {
	f.SortFlags = false
	f.StringVar(&c.Interface, "interface", c.Interface, "`NAME` of the interface to serve (default: that of the default route)")
	f.StringVar(&c.DHCP, "dhcp", c.DHCP, "proxy: beside another DHCP server; server: give addresses; off")
	f.StringVar(&c.Pool, "pool", c.Pool, "`FROM-TO`: addresses to give with --dhcp server")
	f.StringVar(&c.Router, "router", c.Router, "`ADDRESS` of the router to hand out with the pool")
	f.StringSliceVar(&c.DNS, "dns", c.DNS, "`ADDRESS` of a name server to hand out with the pool; may be repeated")
	f.BoolVar(&c.TFTP, "tftp", c.TFTP, "serve TFTP")
	f.StringVar(&c.HTTP, "http", c.HTTP, "`ADDRESS` of the boot HTTP listener")
	f.StringVar(&c.Join, "join", c.Join, "`ADDRESS` of the join HTTPS listener")
	f.StringVar(&c.Admin, "admin", c.Admin, "`ADDRESS` of the admin listener, on loopback")
	f.StringSliceVar(&c.Loaders, "loaders", c.Loaders, "`FOLDER` of boot loaders; may be repeated, the first that has a file wins")
	f.StringVar(&c.BootImage, "boot-image", c.BootImage, "`ID` of the boot image (default: the newest that fits the machine)")
	f.StringArrayVar(&c.KernelArgs, "kernel-args", c.KernelArgs, "`ARGS` added to the kernel command line; may be repeated")
	f.StringVar(&c.Assign, "assign", c.Assign, "`ID` of the content that every machine that netboots receives (default: none)")
	f.StringVar(&c.Target, "target", c.Target, "`PATH` it is written to on the machine, a file, or a disk that is overwritten (default: a file in memory)")
	f.StringVar(&c.After, "after", c.After, "what the machine does then: poweroff, reboot, shell or wait")
	f.Var(&c.Rate, "rate", "`RATE` that a session does not exceed, as in 900mbit (default: no cap)")
	f.IntVar(&c.MinMembers, "min-members", c.MinMembers, "start a session when `N` members have joined (default: with the first)")
	f.DurationVar(&c.MaxWait, "max-wait", c.MaxWait, "or so long after the first member")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "console or json")
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

// newLog writes to standard error, where systemd and people look for it.
func newLog(c config.Config, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if c.LogFormat == "console" {
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}
