package images

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/boot/bcd"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
)

// NewBCD are the commands about boot configurations.
func NewBCD(o *cli.Options) *cobra.Command {
	return command.Group("bcd", "Look into boot configurations of Windows, and make them", newBCDShow(o), newBCDWrite(o))
}

func newBCDShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show FILE", Short: "Print a boot configuration in words", Args: cobra.ExactArgs(1),
		Long: `Show prints any boot configuration store (BCD): castpoint's own, one of an installation
medium, or one of an installed Windows. What it cannot understand it shows as bytes.`,
		Example: "  castpoint bcd show /media/windows/boot/bcd",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			b, err := io.ReadAll(io.LimitReader(f, bcd.MaxSize+1))
			if err != nil {
				return err
			}
			s, err := bcd.Parse(b)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), s)
			}
			return s.Describe(cmd.OutOrStdout())
		},
	})
}

func newBCDWrite(o *cli.Options) *cobra.Command {
	var bios, force, variable bool
	var nx, host, key, debug string
	var debugPort, ems int
	e := bcd.Entry{}
	s := bcd.Options{}
	c := o.AddJSON(&cobra.Command{
		Use: "write FILE", Short: "Write a boot configuration for a WinPE on a server", Args: cobra.ExactArgs(1),
		Long: `Write makes the boot configuration store (BCD) of a machine that boots WinPE over the
network. castpoint serve makes one for each machine by itself; this is for other
servers, and for castpoint serve --bcd.`,
		Example: `  castpoint bcd write BCD
  castpoint bcd write BCD --wim '\Boot\winpe.wim' --block-size 8192 --menu --timeout 10s
  castpoint bcd write BCD --debug serial --ems 1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if bios {
				s.Firmware = bcd.BIOS
			}
			var err error
			if e.NX, err = bcd.ParseNX(nx); err != nil {
				return command.Usage("%w", err)
			}
			if cmd.Flags().Changed("variable-window") {
				s.VariableWindow = &variable
			}
			switch debug {
			case "":
			case "serial":
				s.KernelDebug, s.Debugger = true, &bcd.Debugger{Port: debugPort}
			case "network":
				addr, err := netip.ParseAddr(host)
				if err != nil {
					return command.Usage("debug-host %q: want the IPv4 address of the debugger", host)
				}
				s.KernelDebug, s.Debugger = true, &bcd.Debugger{Host: addr, Key: key}
			default:
				return command.Usage("debug %q: want serial or network", debug)
			}
			if ems != 0 {
				s.EMS = &bcd.EMS{Port: ems}
			}
			s.Entries = []bcd.Entry{e}
			store, err := bcd.Ramdisk(s)
			if err != nil {
				return command.Usage("%w", err)
			}
			data, err := store.Bytes()
			if err != nil {
				return err
			}
			flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
			if force {
				flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
			}
			f, err := os.OpenFile(args[0], flags, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s exists: --force replaces it", args[0])
			}
			if err != nil {
				return err
			}
			_, err = f.Write(data)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write %s: %w", args[0], err)
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"file": args[0], "size": len(data)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, %s\n", args[0], agent.Size(int64(len(data))))
			return err
		},
	})
	f := c.Flags()
	f.SortFlags = false
	f.BoolVar(&bios, "bios", false, "for BIOS (winload.exe) instead of UEFI (winload.efi)")
	f.StringVar(&e.WIM, "wim", "", "`PATH` of the WIM on the server (default "+bcd.DefaultWIM+")")
	f.StringVar(&s.SDI, "sdi", "", "`PATH` of boot.sdi on the server (default "+bcd.DefaultSDI+")")
	f.StringVar(&e.Loader, "loader", "", "`PATH` of the loader in the WIM (default "+`\Windows\System32\Boot\winload.efi`+")")
	f.IntVar(&s.BlockSize, "block-size", 0, "TFTP block for boot.sdi and WIM, in `BYTES` (default 1456)")
	f.IntVar(&s.WindowSize, "window", 0, "TFTP window for boot.sdi and WIM, in `BLOCKS` (default 16)")
	f.BoolVar(&variable, "variable-window", false, "let the boot manager change that window, or forbid it (default: as it likes)")
	f.StringVar(&e.Description, "description", "", "`TEXT` in the menu (default "+bcd.DefaultDescription+")")
	f.BoolVar(&s.ShowMenu, "menu", false, "show the boot menu")
	f.DurationVar(&s.Timeout, "timeout", 0, "of the menu, in whole seconds up to "+(65535*time.Second).String())
	f.StringVar(&s.Locale, "locale", "", "language `TAG` of the boot manager (default "+bcd.DefaultLocale+")")
	f.StringVar(&e.LoadOptions, "load-options", "", "`TEXT`: command line of the system")
	f.StringVar(&nx, "nx", "optin", "which programs may not execute data: optin, optout, alwaysoff or alwayson")
	f.BoolVar(&e.TestSigning, "test-signing", false, "accept drivers with test signatures; Secure Boot forbids it")
	f.StringVar(&debug, "debug", "", "debug the system over `WAY`: serial or network")
	f.IntVar(&debugPort, "debug-port", 1, "`NUMBER` of the serial port of the debugger")
	f.StringVar(&host, "debug-host", "", "IPv4 `ADDRESS` of the debugger, with --debug network")
	f.StringVar(&key, "debug-key", "", "`KEY` of network debugging: four words between dots")
	f.IntVar(&ems, "ems", 0, "`NUMBER` of a serial port that shows menu and system")
	f.BoolVar(&force, "force", false, "replace the file")
	return c
}
