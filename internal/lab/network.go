package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// ServerAddr is the server's address in every lab; the prefix is 24 bits.
var ServerAddr = netip.MustParseAddr("10.77.0.1")

// MaxClients is the largest number of clients of a network.
const MaxClients = 64

// Config says what a network looks like.
type Config struct {
	// Clients is the number of client namespaces, 0 to MaxClients.
	Clients int
	// Rate limits every link in both directions, as tc writes it ("1gbit");
	// empty for no limit. 24 bytes are counted on top of every frame (preamble,
	// check sum, gap), so that 1gbit carries what Gigabit Ethernet carries.
	Rate string
	// Loss is the share of IPv4 packets, 0 to 1, that each client loses on
	// arrival, at random and independently.
	Loss float64
	// Offload lets 64 KiB super-packets cross the links whole. No wire does
	// that: use it where speed matters more than likeness.
	Offload bool
	// Snooping makes the switch forward multicast only where it was asked for
	// (IGMP snooping with a querier); otherwise it floods.
	Snooping bool
	// NoQuerier leaves the querier out.
	NoQuerier bool
	// MTU is that of all cables; 1500 when zero.
	MTU int
	// IPv6 gives server and clients addresses of ServerAddr6's network as well.
	IPv6 bool
}

// ServerAddr6 is the server's address in labs with IPv6; the prefix is 64 bits.
var ServerAddr6 = netip.MustParseAddr("fd77::1")

// A Network is a running lab.
type Network struct {
	Server  *Host
	Switch  *Host
	Clients []*Host

	// Dir is a scratch directory, in TMPDIR or /tmp, that goes with the network.
	Dir string

	config  Config
	janitor *janitor
	stopCtx func() bool // detaches the network from its context

	wires sync.WaitGroup // goroutines of cables in this process

	mu       sync.Mutex
	hosts    []*Host
	machines int
	segments map[int]string // bridges of VLANs
	ends     []io.Closer    // of cables in this process
	closed   bool
	closeErr error
}

// A Host is a namespace with one interface, eth0, at the switch.
type Host struct {
	Name      string
	Namespace string
	Addr      netip.Addr
	MAC       net.HardwareAddr

	port string // the switch's end of the cable

	mu      sync.Mutex
	closed  bool // nothing is started any more
	running map[*Process]struct{}
}

// New makes a network. It is removed by Close, and when ctx ends.
func New(ctx context.Context, c Config) (*Network, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab is made of network namespaces and needs root: use sudo, or make test, make demo or make bench, which ask for it")
	}
	if c.Clients < 0 || c.Clients > MaxClients {
		return nil, fmt.Errorf("lab with %d clients: 0 to %d are possible", c.Clients, MaxClients)
	}
	if c.Loss < 0 || c.Loss > 1 {
		return nil, fmt.Errorf("lab with loss %g: a share between 0 and 1 is wanted", c.Loss)
	}
	if err := sweep(); err != nil {
		return nil, err
	}
	name, err := reserveName()
	if err != nil {
		return nil, err
	}
	n := &Network{config: c, Dir: filepath.Join(os.TempDir(), name+"dir")}
	if n.janitor, err = startJanitor(name); err != nil {
		return nil, err
	}
	if err := n.build(ctx, name); err != nil {
		return nil, errors.Join(fmt.Errorf("make the lab: %w", err), n.Close())
	}
	n.stopCtx = context.AfterFunc(ctx, func() { _ = n.Close() })
	return n, nil
}

// reserveName finds a name for a lab and takes it by making its directory.
func reserveName() (string, error) {
	started, err := startOf(os.Getpid())
	if err != nil {
		return "", fmt.Errorf("make the lab's scratch directory: %w", err)
	}
	for i := range 1000 {
		name := fmt.Sprintf("%s%s-%d-", namePrefix, maker{os.Getpid(), started}, i)
		err := os.Mkdir(filepath.Join(os.TempDir(), name+"dir"), 0o755)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("make the lab's scratch directory: %w", err)
		}
	}
	return "", errors.New("a thousand labs at the same time")
}

// Close ends all programs in the network and removes it. It may be called more
// than once.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return n.closeErr
	}
	n.closed = true
	if n.stopCtx != nil {
		n.stopCtx()
	}
	for _, end := range n.ends {
		_ = end.Close()
	}
	n.wires.Wait()
	// The janitor finds programs by their namespace; one that has just been started may
	// not be in it yet.
	for _, h := range n.hosts {
		h.close()
	}
	n.closeErr = n.janitor.clean()
	return n.closeErr
}

func (n *Network) build(ctx context.Context, name string) error {
	n.Switch = &Host{Name: "switch", Namespace: name + "switch"}
	n.hosts = append(n.hosts, n.Switch)
	if err := addNamespace(ctx, n.Switch.Namespace); err != nil {
		return err
	}
	if err := n.bridge(ctx, "br0"); err != nil {
		return err
	}

	n.Server = &Host{Name: "server", Namespace: name + "server", Addr: ServerAddr,
		MAC: net.HardwareAddr{0x02, 0x77, 0, 0, 0, 1}}
	if err := n.attach(ctx, n.Server, "p0", 0); err != nil {
		return err
	}
	for i := 1; i <= n.config.Clients; i++ {
		h, err := n.AddHost(ctx, fmt.Sprintf("client%d", i), byte(10+i), n.config.Loss)
		if err != nil {
			return err
		}
		n.Clients = append(n.Clients, h)
	}
	return nil
}

// bridge makes one switch.
func (n *Network) bridge(ctx context.Context, name string) error {
	snooping, querier := "0", "0"
	if n.config.Snooping {
		snooping, querier = "1", "1"
	}
	if n.config.NoQuerier {
		querier = "0"
	}
	if err := ip(ctx, "-n", n.Switch.Namespace, "link", "add", name, "type", "bridge",
		"stp_state", "0", "forward_delay", "0", "mcast_snooping", snooping, "mcast_querier", querier); err != nil {
		return err
	}
	return ip(ctx, "-n", n.Switch.Namespace, "link", "set", name, "up")
}

// AddHost makes one more namespace at the switch, whose address ends in last and
// which loses the given share of packets on arrival.
func (n *Network) AddHost(ctx context.Context, name string, last byte, loss float64) (*Host, error) {
	addr := ServerAddr.As4()
	addr[3] = last
	h := &Host{Name: name, Namespace: strings.TrimSuffix(n.Server.Namespace, "server") + name,
		Addr: netip.AddrFrom4(addr), MAC: net.HardwareAddr{0x02, 0x77, 0, 0, 0, last}}
	return h, n.attach(ctx, h, fmt.Sprintf("p%d", last), loss)
}

// VLAN makes the switch of a VLAN, unless it is there already, and a card of the
// server in it. Machines of the VLAN are at ports that belong to it, as access ports
// of a switch do; instead of tags the server has an interface of its own for it.
func (n *Network) VLAN(ctx context.Context, id int) (Segment, error) {
	if id < 1 || id > 4094 {
		return Segment{}, fmt.Errorf("VLAN %d: want 1 to 4094", id)
	}
	s := Segment{Interface: fmt.Sprintf("vlan%d", id), Server: netip.AddrFrom4([4]byte{10, byte(100 + id>>8), byte(id), 1})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.segments[id] != "" {
		return s, nil
	}
	bridge, port, sw := fmt.Sprintf("br%d", id), fmt.Sprintf("pv%d", id), n.Switch.Namespace
	if err := n.bridge(ctx, bridge); err != nil {
		return s, err
	}
	for _, step := range [][]string{
		{"-n", sw, "link", "add", port, "type", "veth", "peer", "name", s.Interface, "netns", n.Server.Namespace},
		{"-n", sw, "link", "set", port, "master", bridge},
		{"-n", n.Server.Namespace, "addr", "add", s.Server.String() + "/24", "brd", "+", "dev", s.Interface},
		{"-n", n.Server.Namespace, "link", "set", s.Interface, "up"},
		{"-n", sw, "link", "set", port, "up"},
	} {
		if err := ip(ctx, step...); err != nil {
			return s, err
		}
	}
	if err := n.asWire(ctx, n.Server.Namespace, s.Interface, port); err != nil {
		return s, err
	}
	if n.segments == nil {
		n.segments = make(map[int]string)
	}
	n.segments[id] = bridge
	return s, nil
}

// A Segment is the network of a VLAN.
type Segment struct {
	Interface string     // of the server in it
	Server    netip.Addr // of that interface; the prefix is 24 bits
}

// attach makes the host's namespace and its cable to the given switch port.
func (n *Network) attach(ctx context.Context, h *Host, port string, loss float64) error {
	n.mu.Lock()
	n.hosts = append(n.hosts, h)
	n.mu.Unlock()
	if err := addNamespace(ctx, h.Namespace); err != nil {
		return err
	}
	h.port = port
	sw := n.Switch.Namespace
	steps := [][]string{
		{"-n", sw, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h.Namespace},
		{"-n", sw, "link", "set", port, "master", "br0"},
		{"-n", h.Namespace, "link", "set", "eth0", "address", h.MAC.String()},
		{"-n", h.Namespace, "addr", "add", h.Addr.String() + "/24", "brd", "+", "dev", "eth0"},
		{"-n", h.Namespace, "link", "set", "eth0", "up"},
		{"-n", sw, "link", "set", port, "up"},
		// There is no default route; multicast needs to know its way.
		{"-n", h.Namespace, "route", "add", "224.0.0.0/4", "dev", "eth0"},
	}
	for _, step := range steps {
		if err := ip(ctx, step...); err != nil {
			return err
		}
	}
	if err := n.asWire(ctx, h.Namespace, "eth0", port); err != nil {
		return err
	}
	if n.config.IPv6 {
		if err := n.withIPv6(ctx, h); err != nil {
			return err
		}
	}
	if n.config.Rate != "" {
		if err := n.SetRate(ctx, h, n.config.Rate); err != nil {
			return err
		}
	}
	return n.SetLoss(ctx, h, loss)
}

// asWire gives a cable between a host's device and a switch port what wires have:
// an MTU, and no super-packets.
func (n *Network) asWire(ctx context.Context, namespace, device, port string) error {
	for _, end := range [][2]string{{namespace, device}, {n.Switch.Namespace, port}} {
		if !n.config.Offload {
			if err := command(ctx, "ip", "netns", "exec", end[0], "ethtool", "-K", end[1],
				"tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off"); err != nil {
				return err
			}
		}
		if n.config.MTU != 0 {
			if err := ip(ctx, "-n", end[0], "link", "set", end[1], "mtu", strconv.Itoa(n.config.MTU)); err != nil {
				return err
			}
		}
	}
	return nil
}

// withIPv6 turns IPv6 on again in a host: an address whose last part is that of the
// IPv4 address, without looking first whether somebody has it.
func (n *Network) withIPv6(ctx context.Context, h *Host) error {
	base := ServerAddr6.As16()
	base[15] = h.Addr.As4()[3]
	for _, script := range []string{
		"cd /proc/sys/net/ipv6/conf; echo 0 >all/disable_ipv6; echo 0 >eth0/accept_dad; echo 0 >eth0/disable_ipv6",
		"ip addr add " + netip.AddrFrom16(base).String() + "/64 dev eth0 nodad",
	} {
		if err := command(ctx, "ip", "netns", "exec", h.Namespace, "/bin/sh", "-ec", script); err != nil {
			return err
		}
	}
	return nil
}

// addNamespace makes a namespace with its loopback up and without IPv6, whose
// address detection would delay and disturb what is measured.
func addNamespace(ctx context.Context, name string) error {
	if err := ip(ctx, "netns", "add", name); err != nil {
		return err
	}
	if err := command(ctx, "ip", "netns", "exec", name, "/bin/sh", "-c",
		"for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $f ] || echo 1 >$f; done"); err != nil {
		return err
	}
	// A switch does not ask the host's firewall; where br_netfilter is loaded, every
	// namespace begins with it on.
	if err := command(ctx, "ip", "netns", "exec", name, "/bin/sh", "-c",
		"for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done"); err != nil {
		return err
	}
	return ip(ctx, "-n", name, "link", "set", "lo", "up")
}

// SetRate changes the rate of a host's link, as tc writes it, in both directions.
func (n *Network) SetRate(ctx context.Context, h *Host, rate string) error {
	if err := setRate(ctx, h.Namespace, "eth0", rate, hostQueue); err != nil {
		return err
	}
	return setRate(ctx, n.Switch.Namespace, h.port, rate, portQueue)
}

// SetPort changes the rate of the host's switch port and the size of its queue, as tc
// writes them: what goes to the host. "" for the rate takes both away.
func (n *Network) SetPort(ctx context.Context, h *Host, rate, queue string) error {
	if rate == "" {
		return command(ctx, "tc", "-n", n.Switch.Namespace, "qdisc", "del", "dev", h.port, "root")
	}
	return command(ctx, "tc", "-n", n.Switch.Namespace, "qdisc", "replace", "dev", h.port, "root", "handle", "1:",
		"tbf", "rate", rate, "burst", "4kb", "limit", queue, "overhead", "24")
}

// SetMTU changes the MTU of a host's cable at both ends.
func (n *Network) SetMTU(ctx context.Context, h *Host, mtu int) error {
	if err := ip(ctx, "-n", h.Namespace, "link", "set", "eth0", "mtu", strconv.Itoa(mtu)); err != nil {
		return err
	}
	return ip(ctx, "-n", n.Switch.Namespace, "link", "set", h.port, "mtu", strconv.Itoa(mtu))
}

// The queue of a host is what its stack holds back; that of a switch port is what a
// plain gigabit switch has for one.
const (
	hostQueue = "1500kb"
	portQueue = "512kb"
)

func setRate(ctx context.Context, namespace, device, rate, queue string) error {
	return command(ctx, "tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "handle", "1:",
		"tbf", "rate", rate, "burst", "64kb", "limit", queue, "overhead", "24")
}

// SetLoss changes the share, 0 to 1, of IPv4 packets that the host loses on
// arrival.
func (n *Network) SetLoss(ctx context.Context, h *Host, share float64) error {
	if err := command(ctx, "tc", "-n", h.Namespace, "qdisc", "replace", "dev", "eth0", "clsact"); err != nil {
		return err
	}
	if err := command(ctx, "tc", "-n", h.Namespace, "filter", "del", "dev", "eth0", "ingress"); err != nil {
		return err
	}
	if share == 0 {
		return nil
	}
	program, err := lossProgram(share)
	if err != nil {
		return err
	}
	return command(ctx, "tc", "-n", h.Namespace, "filter", "add", "dev", "eth0", "ingress",
		"bpf", "da", "bytecode", program)
}

// Unplug takes the host's cable out of the switch; Plug puts it back.
func (n *Network) Unplug(ctx context.Context, h *Host) error {
	return ip(ctx, "-n", n.Switch.Namespace, "link", "set", h.port, "down")
}

// Plug puts the host's cable back after Unplug.
func (n *Network) Plug(ctx context.Context, h *Host) error {
	return ip(ctx, "-n", n.Switch.Namespace, "link", "set", h.port, "up")
}

func ip(ctx context.Context, args ...string) error {
	return command(ctx, "ip", args...)
}

// command runs a program that is quiet when all is well.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not here: run test/install-tools", name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// SentBytes is what has left the host by its cable since it was made, in bytes
// with all headers.
func (h *Host) SentBytes() (int64, error) {
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of %s: %w", h.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		// Eight numbers of reception come before those of transmission.
		if fields := strings.Fields(line); len(fields) > 9 && fields[0] == "eth0:" {
			return strconv.ParseInt(fields[9], 10, 64)
		}
	}
	return 0, fmt.Errorf("read counters of %s: no eth0", h.Name)
}

// BlockMulticast drops all multicast towards the host at the switch, as a
// switch does that misunderstands IGMP.
func (n *Network) BlockMulticast(ctx context.Context, h *Host) error {
	return command(ctx, "bridge", "-n", n.Switch.Namespace, "link", "set", "dev", h.port, "mcast_flood", "off")
}
