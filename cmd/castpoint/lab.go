package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/internal/lab"
	"castpoint/web"
	"castpoint/web/access"
)

// labPool is what the server of a lab gives to the machines.
const labPool = "10.77.0.100-10.77.0.199"

// labStart is how long the server of a lab may take until it is ready.
const labStart = 30 * time.Second

// labFirmware are the words of --firmware.
var labFirmware = []struct {
	name string
	lab.Machine
}{
	{"bios", lab.Machine{Firmware: lab.BIOS}},
	{"uefi", lab.Machine{Firmware: lab.UEFI}},
	{"uefi-http", lab.Machine{Firmware: lab.UEFI, HTTP: true}},
	{"uefi-secure", lab.Machine{Firmware: lab.UEFISecure}},
}

// labOptions are what castpoint lab up is asked for.
type labOptions struct {
	vms      int
	firmware []string
	net      string
	memory   int // MiB
	disk     int // GiB
	data     string
	serve    []string // arguments of castpoint serve
}

func newLab(o *options) *cobra.Command {
	return command.Group("lab", "Boot virtual machines in a closed network on this host", newLabUp(o), newLabDown())
}

func newLabUp(o *options) *cobra.Command {
	l := labOptions{firmware: []string{"bios", "uefi"}}
	c := &cobra.Command{
		Use: "up [-- ARGUMENTS OF SERVE...]", Short: "Start a server and machines that boot from it, and show their screens",
		Long: `Up makes a closed network out of namespaces, runs castpoint serve in it, and starts
virtual machines that have nothing but firmware and an empty disk. Nothing leaves the
network, and nothing on this host is changed. The screens of the machines are shown as
text until all are off, or until Ctrl-C or castpoint lab down, which remove everything.

Without --data the lab has a library of its own, with a boot environment made of this
host's Linux kernel, and it goes with the lab. With --data it is that data folder, which
no other server may have. What follows -- is handed to castpoint serve.

--net names a file of YAML about the network:

  rate: 1gbit      # of every cable, as tc writes it; left out: no limit
  snooping: true   # the switch sends multicast only where it was asked for

It needs root, iproute2, ethtool and QEMU (qemu-system-x86, ovmf, ipxe-qemu).`,
		Example: `  castpoint lab up
  castpoint lab up --vms 4 --firmware uefi --firmware uefi-http
  castpoint lab up --data /var/lib/castpoint -- --assign win11 --target /dev/vda --devices-unknown approve`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 && len(args) > 0 {
				return command.Usage("%q: arguments of castpoint serve come after --", args[0])
			}
			if l.vms < 1 || l.vms > lab.MaxClients {
				return command.Usage("--vms %d: want 1 to %d", l.vms, lab.MaxClients)
			}
			if l.memory < 256 || l.disk < 1 {
				return command.Usage("--memory %d --disk %d: want at least 256 MiB and 1 GiB", l.memory, l.disk)
			}
			l.serve = args
			if cmd.Flags().Changed("data") {
				l.data = o.data
			}
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			return l.up(ctx, cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.IntVar(&l.vms, "vms", 2, "start `N` machines")
	f.StringSliceVar(&l.firmware, "firmware", l.firmware, "`FIRMWARE` of the machines in turn: bios, uefi, uefi-http or uefi-secure; may be repeated")
	f.StringVar(&l.net, "net", "", "`FILE` of YAML about the network")
	f.IntVar(&l.memory, "memory", 1024, "memory of each machine in `MIB`")
	f.IntVar(&l.disk, "disk", 16, "size of each machine's disk in `GIB`; what is not written takes no room")
	return c
}

func newLabDown() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove all labs that castpoint lab up has made", Args: cobra.NoArgs,
		Long:    "Down stops every castpoint lab up on this host and waits until its network, machines and files are gone. What a lab left that was killed goes, too.",
		Example: "  castpoint lab down",
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := lab.Down(cmd.Context(), isLabUp)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %d\n", n)
			return err
		},
	}
}

// isLabUp says whether a process, by its arguments, is a castpoint lab up: tests make
// labs as well.
func isLabUp(args []string) bool {
	return len(args) > 2 && args[1] == "lab" && strings.Contains(strings.Join(args[2:], " "), "up")
}

// readNet reads the file of --net.
func readNet(path string) (c lab.Config, err error) {
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return c, command.Usage("--net: %w", err)
	}
	defer f.Close()
	var text struct {
		Rate     string `yaml:"rate"`
		Snooping bool   `yaml:"snooping"`
	}
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&text); err != nil && !errors.Is(err, io.EOF) {
		return c, command.Usage("--net %s: %w; known are rate and snooping", path, err)
	}
	return lab.Config{Rate: text.Rate, Snooping: text.Snooping}, nil
}

// machines are the machines that are asked for.
func (l *labOptions) machines() ([]lab.Machine, error) {
	var kinds []lab.Machine
	for _, word := range l.firmware {
		found := false
		for _, f := range labFirmware {
			if f.name == word {
				m := f.Machine
				m.Name = word
				kinds, found = append(kinds, m), true
			}
		}
		if !found {
			return nil, command.Usage("--firmware %q: want bios, uefi, uefi-http or uefi-secure", word)
		}
	}
	var all []lab.Machine
	for i := range l.vms {
		m := kinds[i%len(kinds)]
		m.Name, m.Memory = fmt.Sprintf("%d-%s", i+1, m.Name), l.memory
		all = append(all, m)
	}
	return all, nil
}

// up runs a lab until all machines are off or ctx ends, which is no error.
func (l *labOptions) up(ctx context.Context, out io.Writer) (err error) {
	config, err := readNet(l.net)
	if err != nil {
		return err
	}
	machines, err := l.machines()
	if err != nil {
		return err
	}
	var firmware []lab.Firmware
	for _, m := range machines {
		firmware = append(firmware, m.Firmware)
	}
	if err := lab.Check(firmware...); err != nil {
		return err
	}
	n, err := lab.New(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, n.Close())
		if ctx.Err() != nil {
			err = nil // it was told to stop, whatever was cut off by that
		}
		if err == nil {
			_, err = fmt.Fprintln(out, "the lab is removed")
		}
	}()
	if l.data == "" {
		l.data = filepath.Join(n.Dir, "data")
	}
	s := &labServer{network: n, data: l.data, out: out}
	if s.program, err = os.Executable(); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.start(ctx, l.serve); err != nil {
		return err
	}
	fmt.Fprintf(out, "starting %d machines\n", len(machines))
	accel := n.Accelerator(ctx)
	group, ctx := errgroup.WithContext(ctx)
	screens := newScreens(out, s.head)
	for i, m := range machines {
		m.Accel, m.Disk = accel, filepath.Join(n.Dir, fmt.Sprintf("disk%d", i+1))
		if err := sparse(m.Disk, int64(l.disk)<<30); err != nil {
			return err
		}
		m.Echo = screens.echo(m.Name)
		vm, err := n.Boot(ctx, m)
		if err != nil {
			return err
		}
		screens.add(vm)
	}
	watched, done := context.WithCancel(ctx)
	group.Go(func() error { return s.forward(watched) })
	group.Go(func() error {
		defer done()
		return screens.show(watched, s.process)
	})
	return group.Wait()
}

// sparse makes a file of that size that takes no room.
func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// labServer is the server in a lab: this program, by its command line.
type labServer struct {
	network *lab.Network
	program string
	data    string
	out     io.Writer
	process *lab.Process
	door    net.Listener // of this host, for browsers
	head    []string     // what people need to know of it
}

// run runs a command on the server.
func (s *labServer) run(ctx context.Context, args ...string) (string, error) {
	p, err := s.network.Server.Start(lab.Command{Args: append([]string{s.program}, args...)})
	if err != nil {
		return "", err
	}
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("castpoint %s: %s", strings.Join(args, " "), strings.TrimSpace(p.Output.String()))
	}
	return p.Stdout.String(), err
}

// prepare makes sure that there is something to boot.
func (s *labServer) prepare(ctx context.Context) error {
	text, err := s.run(ctx, "content", "list", "--json", "--data", s.data)
	if err != nil {
		return err
	}
	var list []content.Content
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("castpoint content list: %w", err)
	}
	for _, ct := range list {
		if ct.Kind == content.KindBootImage {
			return nil
		}
	}
	fmt.Fprintln(s.out, "making a boot environment of this host's kernel")
	dir := filepath.Join(s.network.Dir, "bootenv")
	if _, err := s.run(ctx, "bootenv", "build", "--out", dir); err != nil {
		return err
	}
	_, err = s.run(ctx, "content", "add", "boot-image", "--kernel", filepath.Join(dir, "vmlinuz"), "--initrd", filepath.Join(dir, "initrd"), "--arch", "amd64", "--name", "linux", "--data", s.data)
	return err
}

// start starts castpoint serve and waits until it is ready.
func (s *labServer) start(ctx context.Context, args []string) (err error) {
	s.process, err = s.network.Server.Start(lab.Command{Args: append([]string{
		s.program, "serve", "--data", s.data, "--interface", "eth0", "--dhcp", "server", "--pool", labPool, "--kernel-args", "console=ttyS0",
		// Emulated machines on a busy host are too slow for the kernel to find its timer.
		"--kernel-args", "no_timer_check"}, args...)})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, labStart)
	defer cancel()
	if err := s.process.WaitTCP(ready, labAdmin); err != nil {
		return fmt.Errorf("castpoint serve in the lab: %w", err)
	}
	if s.door, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("a port for the console: %w", err)
	}
	user := web.AddUser{Name: "lab", Password: web.NewAdminToken(), Scope: access.Admin}
	if err := web.NewSocketClient(s.data).Call(ctx, http.MethodPost, "/access/users", user, nil); err != nil {
		return fmt.Errorf("make a user of the console: %w", err)
	}
	s.head = []string{
		fmt.Sprintf("a closed network with castpoint at %s; from another shell: castpoint status --data %s", s.network.Server.Addr, s.data),
		fmt.Sprintf("its console: http://%s, user %s, password %s", s.door.Addr(), user.Name, user.Password),
	}
	_, err = fmt.Fprintln(s.out, strings.Join(s.head, "\n"))
	return err
}

// labAdmin is the port of the admin listener, on the server's loopback.
const labAdmin = 8069

// forward brings connections of this host to the console in the lab.
func (s *labServer) forward(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = s.door.Close() })()
	for {
		outer, err := s.door.Accept()
		if err != nil {
			return group.Wait() // closed
		}
		group.Go(func() error {
			defer outer.Close()
			var inner net.Conn
			err := s.network.Server.Do(func() (err error) {
				inner, err = (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", labAdmin))
				return err
			})
			if err != nil {
				return nil // the browser sees it
			}
			defer inner.Close()
			defer context.AfterFunc(ctx, func() { _ = inner.Close(); _ = outer.Close() })()
			back := make(chan struct{})
			go func() {
				defer close(back)
				_, _ = io.Copy(outer, inner)
				_ = outer.Close()
			}()
			_, _ = io.Copy(inner, outer)
			_ = inner.Close()
			<-back
			return nil
		})
	}
}
