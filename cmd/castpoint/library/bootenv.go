package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/boot/bootenv"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
)

// NewBootenv are the commands about boot environments.
func NewBootenv(o *cli.Options) *cobra.Command {
	return command.Group("bootenv", "Make boot environments", newBootenvBuild(o))
}

func newBootenvBuild(o *cli.Options) *cobra.Command {
	var b bootenv.Options
	var from, cache, compression string
	var receiveOnly bool
	c := o.AddJSON(&cobra.Command{
		Use: "build --out FOLDER", Short: "Make the Linux boot environment out of Debian packages",
		Long: `Build makes a kernel and an initramfs out of a distribution's kernel, its modules,
busybox, castagent and the programs that task sequences need. It installs nothing: what
this machine has is taken, or else packages are fetched from the Debian mirrors that apt
is set up for.`,
		Example: `  castpoint bootenv build --out bootenv
  castpoint content add boot-image --kernel bootenv/vmlinuz --initrd bootenv/initrd --arch amd64 --name linux`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if b.Out == "" {
				return command.Usage("say where it goes: --out FOLDER")
			}
			if (b.Kernel == "") != (b.ModulesDir == "") {
				return command.Usage("a kernel needs its own modules: say both --kernel and --modules, or neither")
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			b.Compression = bootenv.Compression(compression)
			if b.Kernel == "" || b.Busybox == "" || !receiveOnly {
				source, err := bootenvSource(ctx, from, cache, b.Arch, !receiveOnly)
				if err != nil {
					return err
				}
				if b.Busybox == "" {
					b.Busybox = source.Busybox
				}
				if b.Kernel == "" {
					b.Kernel, b.ModulesDir = source.Kernel, source.ModulesDir
				}
				if !receiveOnly {
					b.DeployRoot = source.Root
				}
			}
			if b.Agent == "" {
				dir, err := os.MkdirTemp("", "castpoint-bootenv-*")
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
				if b.Agent, err = writeAgent(o.Build.Agents, dir, b.Arch); err != nil {
					return err
				}
			}
			res, err := bootenv.Build(ctx, b)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, map[string]any{
					"kernel": res.Kernel, "initrd": res.Initrd, "version": res.Version, "kernel_size": res.KernelSize,
					"initrd_size": res.InitrdSize, "unpacked": res.Unpacked, "modules": res.Modules, "missing_firmware": res.MissingFirmware,
				})
			}
			fmt.Fprintf(out, "made a boot environment with kernel %s and %d modules:\n  %s  %s\n  %s  %s, %s in memory\n",
				res.Version, res.Modules, res.Kernel, agent.Size(res.KernelSize), res.Initrd, agent.Size(res.InitrdSize), agent.Size(res.Unpacked))
			if n := len(res.MissingFirmware); n > 0 {
				fmt.Fprintf(out, "%d firmware files that some network cards load are not in it: %s\n", n, strings.Join(res.MissingFirmware[:min(n, 5)], ", "))
			}
			fmt.Fprintf(out, "add it with:\n  castpoint content add boot-image --kernel %s --initrd %s --arch %s --name linux\n", res.Kernel, res.Initrd, b.Arch)
			return nil
		},
	})
	f := c.Flags()
	f.StringVar(&b.Out, "out", "", "`FOLDER` that gets vmlinuz and initrd")
	f.StringVar(&b.Arch, "arch", "amd64", "`ARCH` of the machines: amd64 or arm64")
	f.StringVar(&from, "from", "auto", "where kernel and busybox come from: host, debian, or auto (host if it has them)")
	f.StringVar(&cache, "cache", "", "`FOLDER` for fetched packages (default: in the user's cache)")
	f.StringVar(&b.Kernel, "kernel", "", "`FILE` of a kernel to take instead")
	f.StringVar(&b.ModulesDir, "modules", "", "`FOLDER` of its modules, lib/modules/VERSION")
	f.StringVar(&b.Busybox, "busybox", "", "`FILE` of a static busybox to take instead")
	f.StringVar(&b.Agent, "agent", "", "`FILE` of a castagent to take instead of the one inside castpoint")
	f.StringSliceVar(&b.Tools, "tool", nil, "`PROGRAM` of this machine to add with its libraries; may be repeated")
	f.BoolVar(&receiveOnly, "receive-only", false, "leave out the programs that task sequences need: the machines receive contents and do nothing else")
	f.StringSliceVar(&b.Modules, "module", nil, "`NAME` of a kernel module to add; may be repeated")
	f.StringVar(&b.FirmwareDir, "firmware", "", "`FOLDER` of firmware files to take from, such as /lib/firmware")
	f.StringVar(&compression, "compression", string(bootenv.Zstd), "zstd or gzip")
	return c
}

// bootenvSource finds kernel, modules, busybox and programs.
func bootenvSource(ctx context.Context, from, cache, arch string, deploy bool) (bootenv.Source, error) {
	if from != "host" && from != "debian" && from != "auto" {
		return bootenv.Source{}, command.Usage("from %q: want host, debian or auto", from)
	}
	var hostErr error
	if from != "debian" {
		var s bootenv.Source
		if s, hostErr = bootenv.FromHost(arch, deploy); hostErr == nil || from == "host" {
			return s, hostErr
		}
	}
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			dir = os.TempDir()
		}
		cache = filepath.Join(dir, "castpoint", "bootenv")
	}
	s, err := bootenv.FromDebian(ctx, cache, arch, deploy)
	if err != nil && hostErr != nil {
		return s, fmt.Errorf("%w (and not from this host: %w)", err, hostErr)
	}
	return s, err
}

// writeAgent puts the embedded agent for Linux machines of arch into dir.
func writeAgent(agents fs.FS, dir, arch string) (string, error) {
	name := "castagent-linux-" + arch
	b, err := fs.ReadFile(agents, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("this castpoint was built without %s: build it with make build, or say --agent FILE", name)
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o755); err != nil {
		return "", fmt.Errorf("unpack agent: %w", err)
	}
	return path, nil
}
