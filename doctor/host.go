package doctor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Capabilities, by their bit (capability(7)).
const (
	capNetBindService = 10
	capNetRaw         = 13
)

// Capabilities are those that this process has, by their bits (proc_pid_status(5)).
func Capabilities(proc string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(proc, "self/status"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), "\nCapEff:")
	line, _, _ := strings.Cut(after, "\n")
	return strconv.ParseUint(strings.TrimSpace(line), 16, 64)
}

func privileges(_ context.Context, t *Target) []Finding {
	have, err := t.Capabilities, error(nil)
	if have == 0 {
		have, err = Capabilities(t.Proc)
	}
	if err != nil {
		return []Finding{{Level: Note, Text: "not known: " + err.Error()}}
	}
	low, err := os.ReadFile(filepath.Join(t.Proc, "sys/net/ipv4/ip_unprivileged_port_start"))
	first, _ := strconv.Atoi(strings.TrimSpace(string(low)))
	var missing []string
	if have&(1<<capNetBindService) == 0 && (err != nil || first > 67) {
		missing = append(missing, "CAP_NET_BIND_SERVICE (ports 67 and 69)")
	}
	if have&(1<<capNetRaw) == 0 {
		missing = append(missing, "CAP_NET_RAW (answers to machines without an address)")
	}
	if len(missing) == 0 {
		return []Finding{{Level: OK, Text: "ports below 1024 and raw sockets are allowed"}}
	}
	level := Attention
	if t.Running {
		level = Note // the server has what it needs, it is this command that has less
	}
	return []Finding{{Level: level, Text: "this process lacks " + strings.Join(missing, " and "),
		Do: "run castpoint as root, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW"}}
}

func interfaces(_ context.Context, t *Target) []Finding {
	if len(t.Interfaces) == 0 {
		return []Finding{{Level: Attention, Text: "no interface is named, and there is no default route to take one from",
			Do: "name one with --interface, or as interface: in the file"}}
	}
	var all []Finding
	for _, want := range t.Interfaces {
		all = append(all, oneInterface(want))
	}
	return all
}

func oneInterface(want Interface) Finding {
	i, err := net.InterfaceByName(want.Name)
	if err != nil {
		return Finding{Level: Attention, Text: fmt.Sprintf("there is no interface %s", want.Name), Do: "correct interface: in the file; ip -br address lists what there is"}
	}
	if i.Flags&net.FlagUp == 0 {
		return Finding{Level: Attention, Text: want.Name + " is down", Do: "ip link set " + want.Name + " up"}
	}
	addrs, err := i.Addrs()
	if err != nil {
		return Finding{Level: Note, Text: fmt.Sprintf("addresses of %s: %v", want.Name, err)}
	}
	var have []string
	found := false
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().Is4() {
			continue
		}
		have = append(have, p.String())
		found = found || p.Addr() == want.Address
	}
	switch {
	case len(have) == 0:
		return Finding{Level: Attention, Text: want.Name + " has no IPv4 address", Do: "give it a fixed one: machines are told to come to it"}
	case want.Address.IsValid() && !found:
		return Finding{Level: Attention, Text: fmt.Sprintf("%s no longer has %s, which machines are told; it has %s", want.Name, want.Address, strings.Join(have, ", ")),
			Do: "restart castpoint, and give the interface a fixed address"}
	case i.Flags&net.FlagRunning == 0:
		return Finding{Level: Attention, Text: want.Name + " has no link", Do: "look at its cable and the switch's port"}
	}
	return Finding{Level: OK, Text: fmt.Sprintf("%s is up with %s", want.Name, strings.Join(have, ", "))}
}

func ports(_ context.Context, t *Target) []Finding {
	var all []Finding
	for _, p := range t.Ports {
		if p.Last != 0 || p.Port == 0 || p.Reply {
			continue // a range is tried port by port
		}
		where := fmt.Sprintf("%s port %d (%s)", strings.ToUpper(p.Proto), p.Port, p.What)
		holders, err := holders(t.Proc, p.Proto, p.Port)
		var names []string
		var mine []string // sockets that castpoint has
		for _, h := range holders {
			names = append(names, h.String())
			if h.name == "castpoint" {
				mine = append(mine, h.sockets...)
			}
		}
		ours := len(mine) > 0
		// systemd has the sockets of castpoint.socket, too: the same ones.
		shared := slices.ContainsFunc(holders, func(h holder) bool {
			return slices.ContainsFunc(h.sockets, func(s string) bool { return !slices.Contains(mine, s) })
		})
		switch {
		case err != nil:
			all = append(all, Finding{Level: Note, Text: where + ": " + err.Error()})
		case t.Running && ours && !shared:
			all = append(all, Finding{Level: OK, Text: where + " is castpoint's"})
		case t.Running && ours:
			all = append(all, Finding{Level: Attention, Text: where + " is shared by " + strings.Join(names, " and "), Do: "stop the others: only one of them gets what comes"})
		case t.Running && len(holders) == 0:
			all = append(all, Finding{Level: Attention, Text: where + ": castpoint runs, but nobody listens", Do: "look into its log, and whether it runs in another network namespace"})
		case len(holders) == 0:
			all = append(all, Finding{Level: OK, Text: where + " is free"})
		default:
			all = append(all, Finding{Level: Attention, Text: where + " is held by " + strings.Join(names, " and "),
				Do: "stop that program, or turn this part of it off"})
		}
	}
	return all
}

// holder is a process that has a port.
type holder struct {
	pid     int // 0 when it cannot be seen
	name    string
	sockets []string // that it listens with, by inode
}

func (h holder) String() string {
	if h.pid == 0 {
		return "a process that this user cannot see"
	}
	return fmt.Sprintf("%s (process %d)", h.name, h.pid)
}

// holders are the processes that listen on a port of this network namespace
// (proc_net(5): the inode of each socket; proc_pid_fd(5): who has it open).
func holders(proc, proto string, port uint16) ([]holder, error) {
	inodes := map[string]bool{}
	for _, family := range []string{"", "6"} {
		b, err := os.ReadFile(filepath.Join(proc, "net", proto+family))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			f := strings.Fields(string(line))
			// local address, remote address, state: 07 is an unconnected UDP socket, 0A
			// listening.
			if len(f) < 10 || f[3] != map[string]string{"udp": "07", "tcp": "0A"}[proto] {
				continue
			}
			_, p, _ := strings.Cut(f[1], ":")
			n, err := hex.DecodeString(p)
			if err == nil && len(n) == 2 && uint16(n[0])<<8|uint16(n[1]) == port {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return nil, nil
	}
	var all []holder
	pids, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	for _, e := range pids {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fds, err := os.ReadDir(filepath.Join(proc, e.Name(), "fd"))
		if err != nil {
			continue // gone, or another user's
		}
		var sockets []string
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(proc, e.Name(), "fd", fd.Name())); err == nil && inodes[to] {
				sockets = append(sockets, to)
			}
		}
		if len(sockets) > 0 {
			comm, _ := os.ReadFile(filepath.Join(proc, e.Name(), "comm"))
			all = append(all, holder{pid, strings.TrimSpace(string(comm)), sockets})
		}
	}
	if len(all) == 0 {
		all = append(all, holder{})
	}
	return all, nil
}

// Buffers, in bytes. Less than what Linux has had for twenty years is somebody's
// setting; what is recommended lets a room of machines ask in the same instant and
// a session send in large pieces.
const (
	bufferLeast  = 212_992
	bufferEnough = 1 << 20
)

func buffers(_ context.Context, t *Target) []Finding {
	var all []Finding
	for _, name := range []string{"rmem_max", "wmem_max"} {
		b, err := os.ReadFile(filepath.Join(t.Proc, "sys/net/core", name))
		if err != nil {
			all = append(all, Finding{Level: Note, Text: "net.core." + name + " is not known here: " + err.Error()})
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		f := Finding{Level: OK, Text: fmt.Sprintf("net.core.%s is %d bytes", name, n)}
		switch {
		case err != nil:
			f = Finding{Level: Note, Text: err.Error()}
		case n < bufferLeast:
			f.Level = Attention
			f.Do = fmt.Sprintf("sysctl -w net.core.%s=%d, and the same in /etc/sysctl.d: requests and reports of many machines get lost", name, bufferEnough)
		case n < bufferEnough:
			f.Level = Note
			f.Do = fmt.Sprintf("for rooms of hundreds of machines: sysctl -w net.core.%s=%d", name, bufferEnough)
		}
		all = append(all, f)
	}
	return all
}

func servers(_ context.Context, t *Target) []Finding {
	if !t.Running {
		return []Finding{{Level: Note, Text: "not known: the server, which hears them, is not running", Do: "castpoint serve"}}
	}
	if len(t.Others) == 0 {
		return []Finding{{Level: OK, Text: "none were heard"}}
	}
	return t.Others
}

func boots(_ context.Context, t *Target) []Finding {
	var all []Finding
	for _, b := range t.Boots {
		f := Finding{Level: OK, Text: b.Machine + ": " + b.Reason}
		if !b.Served {
			f.Level = Note
			if b.Needed {
				f.Level = Attention
				f.Do = "the reason names what is missing; castpoint explain says more"
			}
		}
		all = append(all, f)
	}
	return all
}

// soon is how long before its end a certificate is warned of.
const soon = 30 * 24 * time.Hour

func signers(_ context.Context, t *Target) []Finding {
	now := t.Now()
	var all []Finding
	for _, s := range t.Signed {
		f := Finding{Level: OK, Text: fmt.Sprintf("%s is signed by %s, valid until %s", s.Name, s.By, s.NotAfter.Format(time.DateOnly))}
		// Firmware does not look at the date: an old signature goes on to be accepted
		// as long as its authority is in the machine's list.
		switch {
		case now.After(s.NotAfter):
			f.Level = Note
			f.Text += ", which is over"
			f.Do = "machines that know its authority still start it; a newer one is signed for machines that only know the new one"
		case now.Add(soon).After(s.NotAfter):
			f.Level = Note
			f.Do = "get the newer version of the file while both are accepted"
		}
		all = append(all, f)
	}
	return all
}

// lines are those of a command's output.
func lines(b []byte) (all []string) {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, s.Text())
	}
	return all
}
