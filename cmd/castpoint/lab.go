package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/lab"
	"castpoint/internal/testbed"
	"castpoint/web/call"
)

// labDownLimit is how long the removal of labs may take.
const labDownLimit = 2 * time.Minute

func newLab(o *cli.Options) *cobra.Command {
	return command.Group("lab", "Boot virtual machines in a closed network on this host",
		newLabUp(o), newLabDown(), newLabStatus(o), newLabScreen(o), newLabKey(), newLabType(), newLabReboot(), newLabOff(),
		newLabExec(), newLabNet(), newLabCheck(o))
}

// labKinds are the words of --firmware.
func labKinds() (words []string) {
	for _, k := range testbed.Kinds() {
		words = append(words, k.Name)
	}
	return words
}

// findKinds are the firmwares of those words.
func findKinds(words []string) (kinds []testbed.Kind, err error) {
	all := testbed.Kinds()
	for _, word := range words {
		i := slices.IndexFunc(all, func(k testbed.Kind) bool { return k.Name == word })
		if i < 0 {
			return nil, command.Usage("--firmware %q: want %s", word, strings.Join(labKinds(), ", "))
		}
		kinds = append(kinds, all[i])
	}
	if len(kinds) == 0 {
		return nil, command.Usage("--firmware: want %s", strings.Join(labKinds(), ", "))
	}
	return kinds, nil
}

func labFirmwareFlag(c *cobra.Command, to *[]string, usage string) {
	c.Flags().StringSliceVar(to, "firmware", []string{"bios", "uefi"}, usage+": "+strings.Join(labKinds(), ", ")+"; may be repeated")
	_ = c.RegisterFlagCompletionFunc("firmware", cobra.FixedCompletions(labKinds(), cobra.ShellCompDirectiveNoFileComp))
}

func newLabUp(o *cli.Options) *cobra.Command {
	var l testbed.Options
	var vms, disk int
	var firmware []string
	var net string
	var untilOff bool
	c := &cobra.Command{
		Use: "up [-- ARGUMENTS OF SERVE...]", Short: "Start a server and machines that boot from it, and show their screens",
		Long: `Up makes a closed network out of namespaces, runs castpoint serve in it, and starts
virtual machines that have nothing but firmware and an empty disk. Nothing leaves the
network, and nothing on this host is changed. The screens of the machines are shown as
text, side by side on a terminal and line by line elsewhere, until Ctrl-C or castpoint
lab down, which remove everything. There is one lab at a time; the other commands of
castpoint lab work with it from another shell.

Without --data the lab has a library of its own, with a boot environment made of this
host's Linux kernel, and it goes with the lab. With --data it is that data folder, which
no other server may have. What follows -- is handed to castpoint serve.

--net names a file of YAML about the network: rate, loss and delay of cables, VLANs,
IGMP snooping, a DHCP server beside castpoint, IPv6. castpoint lab net prints one with
everything that can be set.

It needs root, iproute2, ethtool and QEMU; castpoint lab check says what is missing.`,
		Example: `  castpoint lab up
  castpoint lab up --vms 4 --firmware uefi,uefi-http --net slow.yaml
  castpoint lab up --data /var/lib/castpoint -- --assign win11 --target /dev/vda --devices-unknown approve`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 && len(args) > 0 {
				return command.Usage("%q: arguments of castpoint serve come after --", args[0])
			}
			if vms < 1 || vms > lab.MaxClients {
				return command.Usage("--vms %d: want 1 to %d", vms, lab.MaxClients)
			}
			if l.Memory < 256 || disk < 1 {
				return command.Usage("--memory %d --disk %d: want at least 256 MiB and 1 GiB", l.Memory, disk)
			}
			kinds, err := findKinds(firmware)
			if err != nil {
				return err
			}
			if l.Net, err = testbed.ReadNet(net); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return command.Usage("--net %w", err)
			}
			for number := range l.Net.Machines {
				if number > vms {
					return command.Usage("--net %s: machines: there is no machine %d with --vms %d", net, number, vms)
				}
			}
			var used []lab.Firmware
			for i := range vms {
				k := kinds[i%len(kinds)]
				l.Machines, used = append(l.Machines, k), append(used, k.Machine.Firmware)
			}
			if err := labCheck(used, l.Net.DHCP == testbed.DHCPDnsmasq); err != nil {
				return err
			}
			l.Serve, l.Disk, l.Password, l.Out = args, int64(disk)<<30, call.NewToken(), cmd.OutOrStdout()
			if screen, ok := terminal.Of(l.Out); ok && !l.Plain {
				l.Out = screen // the machines' screens are drawn on it
			}
			if cmd.Flags().Changed("data") {
				if l.Data, err = filepath.Abs(o.Data); err != nil {
					return err
				}
			}
			if l.Program, err = os.Executable(); err != nil {
				return err
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return labUp(ctx, l, untilOff)
		},
	}
	f := c.Flags()
	f.IntVar(&vms, "vms", 2, "start `N` machines")
	labFirmwareFlag(c, &firmware, "`FIRMWARE` of the machines in turn")
	f.StringVar(&net, "net", "", "`FILE` of YAML about the network; castpoint lab net prints one")
	f.IntVar(&l.Memory, "memory", 1024, "memory of each machine in `MIB`")
	f.IntVar(&disk, "disk", 16, "size of each machine's disk in `GIB`; what is not written takes no room")
	f.BoolVar(&l.Plain, "plain", false, "screens line by line, on a terminal too")
	f.BoolVar(&untilOff, "until-off", false, "end when all machines are off")
	return c
}

// labUp runs a lab until it is told to stop, which is no error.
func labUp(ctx context.Context, l testbed.Options, untilOff bool) (err error) {
	running, err := testbed.Running()
	if err != nil {
		return err
	}
	if running != nil {
		return cli.Refused(fmt.Errorf("a lab is running since %s (process %d): castpoint lab status shows it, castpoint lab down removes it",
			running.Started.Local().Format(time.DateTime), running.Pid))
	}
	b, err := testbed.Start(ctx, l)
	if err == nil {
		group, ctx := errgroup.WithContext(ctx)
		ctx, done := context.WithCancel(ctx)
		group.Go(func() error { defer done(); return b.Run(ctx, untilOff) })
		group.Go(func() error { return b.Show(ctx) })
		err = errors.Join(group.Wait(), b.Close())
	}
	if ctx.Err() != nil {
		err = nil // it was told to stop, whatever was cut off by that
	}
	if err == nil {
		_, err = fmt.Fprintln(l.Out, "the lab is removed")
	}
	return err
}

// labCheck says what is missing on this host.
func labCheck(firmware []lab.Firmware, dnsmasq bool) error {
	err := lab.Check(firmware...)
	if _, missing := exec.LookPath("dnsmasq"); err == nil && dnsmasq && missing != nil {
		err = errors.New("the lab lacks dnsmasq (dhcp: dnsmasq); on Debian and Ubuntu: apt-get install dnsmasq-base")
	}
	return err
}

func newLabDown() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove the lab that castpoint lab up has made", Args: cobra.NoArgs,
		Long:    "Down stops castpoint lab up on this host and waits until its network, machines and files are gone. What a lab left that was killed goes, too.",
		Example: "  castpoint lab down",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), labDownLimit)
			defer cancel()
			n, err := lab.Down(ctx, testbed.IsBed)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %d\n", n)
			return err
		},
	}
}

// labError gives errors of a lab the exit codes that they have.
func labError(err error) error {
	switch {
	case errors.Is(err, testbed.ErrNone), errors.Is(err, testbed.ErrNotFound):
		return cli.NotFound(err)
	case errors.Is(err, testbed.ErrRefused):
		return cli.Refused(err)
	}
	return err
}

func newLabStatus(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "status", Short: "Show the running lab and its machines", Args: cobra.NoArgs,
		Example: "  castpoint lab status\n  castpoint lab status --json | jq -r '.machines[] | .name + \" \" + .stage'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := testbed.Dial()
			if err != nil {
				return labError(err)
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return labError(err)
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, s)
			}
			fmt.Fprintf(out, "lab of process %d, since %s, files in %s\n", s.Pid, s.Started.Local().Format(time.DateTime), s.Dir)
			fmt.Fprintf(out, "server %s, data folder %s\n", s.Server.Address, s.Server.Data)
			if s.Server.Console != "" {
				fmt.Fprintf(out, "console %s, user %s, password %s\n", s.Server.Console, s.Server.User, s.Server.Password)
			}
			fmt.Fprintf(out, "hosts %s (castpoint lab exec HOST -- PROGRAM)\n\n", strings.Join(s.Hosts, ", "))
			if len(s.Machines) == 0 {
				_, err = fmt.Fprintln(out, "no machine is on yet")
				return err
			}
			rows := [][]string{{"MACHINE", "MAC", "POWER", "STAGE", "FOR", "LAST LINE"}}
			for _, m := range s.Machines {
				power := "on"
				if !m.On {
					power = "off"
				}
				rows = append(rows, []string{m.Name, m.MAC, power, m.Stage, time.Since(m.Since).Round(time.Second).String(), strings.TrimSpace(m.Line)})
			}
			return terminal.Table(out, rows)
		},
	})
}

func newLabScreen(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "screen MACHINE", Short: "Show the screen of a machine of the lab", Args: cobra.ExactArgs(1), ValidArgsFunction: completeLabMachine,
		Long:    "Screen prints what is on the screen of a machine, by its number or name.",
		Example: "  castpoint lab screen 1\n  castpoint lab screen 2-uefi --watch --every 500ms",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := testbed.Dial()
			if err != nil {
				return labError(err)
			}
			lines, err := c.Screen(cmd.Context(), args[0])
			if err != nil {
				return labError(err)
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), lines)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(lines, "\n"))
			return err
		},
	})
}

// labMachineCommand makes a command that does something with a machine.
func labMachineCommand(c *cobra.Command, done string, do func(ctx context.Context, l *testbed.Client, args []string) (testbed.MachineStatus, error)) *cobra.Command {
	c.ValidArgsFunction = completeLabMachine
	c.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := testbed.Dial()
		if err != nil {
			return labError(err)
		}
		m, err := do(cmd.Context(), l, args)
		if err != nil {
			return labError(err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", m.Name, done)
		return err
	}
	return c
}

func newLabKey() *cobra.Command {
	return labMachineCommand(&cobra.Command{
		Use: "key MACHINE KEY...", Short: "Press keys of a machine's keyboard", Args: cobra.MinimumNArgs(2),
		Long: `Key presses keys one after the other: letters and digits, f1 to f12, enter, esc, tab,
space, up, down, left, right, home, end, pageup, pagedown, delete, backspace. Keys that
are held together are joined by a hyphen, as in ctrl-b. Firmware and boot loaders read
the keyboard; Linux in the lab reads its serial console: castpoint lab type.`,
		Example: "  castpoint lab key 1 f12\n  castpoint lab key 2-uefi esc down enter",
	}, "has the keys", func(ctx context.Context, l *testbed.Client, args []string) (testbed.MachineStatus, error) {
		return l.Press(ctx, args[0], args[1:])
	})
}

func newLabType() *cobra.Command {
	var noEnter bool
	c := labMachineCommand(&cobra.Command{
		Use: "type MACHINE TEXT", Short: "Type at a machine's serial console", Args: cobra.ExactArgs(2),
		Long:    "Type writes a line at the serial console, which Linux and a shell of the boot environment read.",
		Example: "  castpoint lab type 1 'ip address'",
	}, "has the text", func(ctx context.Context, l *testbed.Client, args []string) (testbed.MachineStatus, error) {
		text := args[1]
		if !noEnter {
			text += "\r"
		}
		return l.Type(ctx, args[0], text)
	})
	c.Flags().BoolVar(&noEnter, "no-enter", false, "without the enter key at the end")
	return c
}

func newLabReboot() *cobra.Command {
	return labMachineCommand(&cobra.Command{
		Use: "reboot MACHINE", Short: "Restart a machine, or switch it on", Args: cobra.ExactArgs(1),
		Long:    "Reboot restarts a machine without asking what runs on it, as its button does, and switches one on that is off. It keeps its disk.",
		Example: "  castpoint lab reboot 1",
	}, "starts again", func(ctx context.Context, l *testbed.Client, args []string) (testbed.MachineStatus, error) {
		return l.Reboot(ctx, args[0])
	})
}

func newLabOff() *cobra.Command {
	return labMachineCommand(&cobra.Command{
		Use: "off MACHINE", Short: "Take a machine's power away", Args: cobra.ExactArgs(1),
		Long:    "Off switches a machine off without asking what runs on it. castpoint lab reboot switches it on again.",
		Example: "  castpoint lab off 1",
	}, "is off", func(ctx context.Context, l *testbed.Client, args []string) (testbed.MachineStatus, error) {
		return l.Off(ctx, args[0])
	})
}

func newLabExec() *cobra.Command {
	return &cobra.Command{
		Use: "exec HOST -- PROGRAM [ARGUMENT...]", Short: "Run a program of this host inside the lab's network", Args: cobra.MinimumNArgs(2),
		Long: `Exec runs a program in the network of a host of the lab: server, switch, a client of the
file of --net, or dhcp. The exit code is the program's.`,
		Example: "  castpoint lab exec server -- tcpdump -ni eth0\n  castpoint lab exec switch -- bridge mdb\n  castpoint lab exec client1 -- curl http://10.77.0.1:8080/",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return labStatusOf(cmd.Context()).Hosts, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := testbed.Dial()
			if err != nil {
				return labError(err)
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return labError(err)
			}
			namespace, ok := s.Namespaces[args[0]]
			if !ok {
				return cli.NotFound(fmt.Errorf("there is no host %q: this lab has %s", args[0], strings.Join(s.Hosts, ", ")))
			}
			program, err := exec.LookPath(args[1])
			if err != nil {
				return cli.NotFound(err)
			}
			ip, err := exec.LookPath("ip")
			if err != nil {
				return err
			}
			// In the place of this process, so that signals and the exit code are the
			// program's.
			return unix.Exec(ip, append([]string{"ip", "netns", "exec", namespace, program}, args[2:]...), os.Environ())
		},
	}
}

func newLabNet() *cobra.Command {
	var schema bool
	c := &cobra.Command{
		Use: "net [FILE]", Short: "Print a file of lab up --net with all settings, or check one", Args: cobra.MaximumNArgs(1),
		Example: "  castpoint lab net > net.yaml\n  castpoint lab net net.yaml\n  castpoint lab net --schema > net.schema.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch {
			case schema && len(args) > 0:
				return command.Usage("--schema and a file: one at a time")
			case schema:
				return terminal.JSON(out, testbed.Schema())
			case len(args) == 0:
				_, err := io.WriteString(out, testbed.Example())
				return err
			}
			if _, err := testbed.ReadNet(args[0]); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return command.Usage("%w", err)
			}
			_, err := fmt.Fprintf(out, "%s: no mistakes\n", args[0])
			return err
		},
	}
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema, for editors")
	return c
}

func newLabCheck(o *cli.Options) *cobra.Command {
	var firmware []string
	c := o.AddJSON(&cobra.Command{
		Use: "check", Short: "Say whether this host can have a lab, and how fast its machines are", Args: cobra.NoArgs,
		Long:    "Check looks for what a lab needs, names the packages that are missing, and starts a machine for a moment to find out whether KVM works.",
		Example: "  castpoint lab check\n  castpoint lab check --firmware uefi-secure --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			kinds, err := findKinds(firmware)
			if err != nil {
				return err
			}
			var used []lab.Firmware
			for _, k := range kinds {
				used = append(used, k.Machine.Firmware)
			}
			if err := lab.Check(used...); err != nil {
				return err
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			accel, err := probeAccelerator(ctx)
			if err != nil {
				return err
			}
			if o.JSON {
				name, _, _ := strings.Cut(accel, ",")
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"ok": true, "accelerator": name})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "a lab is possible; machines run %s\n", testbed.How(accel))
			return err
		},
	})
	labFirmwareFlag(c, &firmware, "`FIRMWARE` that the machines are to have")
	return c
}

// probeAccelerator makes a network of its own for a moment.
func probeAccelerator(ctx context.Context) (accel string, err error) {
	n, err := lab.New(ctx, lab.Config{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return n.Accelerator(ctx), nil
}

// labStatusOf is for shells, which are told nothing of errors.
func labStatusOf(ctx context.Context) (s testbed.Status) {
	ctx, cancel := context.WithTimeout(ctx, cli.CompleteTime)
	defer cancel()
	if c, err := testbed.Dial(); err == nil {
		s, _ = c.Status(ctx) // empty when it does not answer
	}
	return s
}

func completeLabMachine(cmd *cobra.Command, args []string, _ string) (all []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, m := range labStatusOf(cmd.Context()).Machines {
		all = append(all, fmt.Sprintf("%s\t%s, %s", m.Name, m.MAC, m.Stage))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
