// Package doctor looks for what keeps machines from booting: each check names
// what it found and what to do about it. It changes nothing.
//
// What is to be checked is told by a Target; the package knows no settings and no
// running server. To measure the disk it writes a file of 64 MiB into the data folder,
// which it removes. Checks are data: a name, a question, and a function that
// answers it with findings.
package doctor

import (
	"context"
	"net/netip"
	"os/exec"
	"time"
)

// Level is how bad a finding is.
type Level string

// Levels.
const (
	OK        Level = "ok"
	Note      Level = "note"      // could not be checked, or may matter one day
	Attention Level = "attention" // machines may not boot
)

// Finding is the answer of one check about one thing.
type Finding struct {
	Check string `json:"check"`        // name of the check
	Level Level  `json:"level"`        // ok, note or attention
	Text  string `json:"text"`         // what was found
	Do    string `json:"do,omitempty"` // what to do about it
}

// Check is one question.
type Check struct {
	Name string
	Asks string // what it looks at, for people
	Here bool   // about this machine, and not about the server on the network
	run  func(context.Context, *Target) []Finding
}

// Checks are all checks, in the order in which a fault should be looked for.
func Checks() []Check {
	return []Check{
		{"privileges", "may this process bind low ports and open raw sockets", true, privileges},
		{"interfaces", "do the interfaces exist, are they up, do they have addresses", true, interfaces},
		{"ports", "are the ports free, or held by castpoint", true, ports},
		{"firewall", "do nftables or iptables drop what machines send", true, firewall},
		{"buffers", "may sockets have buffers large enough for a room of machines", true, buffers},
		{"disk", "can the data folder be written and read fast, and is there room", true, disk},
		{"clock", "is the clock set, and do time servers agree", true, clock},
		{"certificates", "are the certificates valid, for how long, and for which names", true, certificates},
		{"servers", "do other DHCP or PXE servers get in the way", true, servers},
		{"querier", "does somebody ask who wants multicast", true, queriers},
		{"boot", "does each kind of machine get something", true, boots},
		{"signers", "when do the signatures of boot files run out", true, signers},
		{"fetch", "do boot files arrive by TFTP and HTTP as firmware asks for them", false, fetch},
	}
}

// Port is a port the server needs.
type Port struct {
	Proto string // udp or tcp
	Port  uint16
	Last  uint16 // of a range; 0 for one port
	What  string // "TFTP requests"
	// Reply is set when packets come in only as answers to what the server sent
	// from there: a firewall that keeps state lets them in.
	Reply bool
}

// Interface is one that the server uses.
type Interface struct {
	Name    string
	Address netip.Addr // invalid when it is not known
}

// Certificate is one that machines are to trust.
type Certificate struct {
	What  string // "join listener"
	PEM   []byte
	Hosts []string // names and addresses it is reached by; nil when they do not matter
	Do    string   // when it is not valid
}

// Boot is what a kind of machine gets.
type Boot struct {
	Machine string // "UEFI x64"
	Served  bool
	Reason  string // why, or why not
	Needed  bool   // there is a boot image for it
}

// Signed is a signed boot file.
type Signed struct {
	Name, By string
	NotAfter time.Time
}

// Target is what is to be checked.
type Target struct {
	Here    bool // the server's own machine
	Running bool // a server has the data folder

	// Capabilities are those that the command was started with: it may have given up
	// most of them since. 0 stands for those of this process.
	Capabilities uint64

	Ports      []Port
	Interfaces []Interface
	Groups     [2]netip.Addr // first and last multicast address of sessions
	Data       string        // folder
	Room       int64         // bytes that should be free there

	Certificates []Certificate
	TimeServers  []TimeServer
	Queriers     []Querier // one for each interface; empty when the server may not listen
	Since        time.Time // when the server began to listen for them
	Others       []Finding // about other servers on the network, by who has heard them
	Boots        []Boot
	Signed       []Signed

	TFTP  netip.AddrPort // invalid when there is none
	HTTP  string         // base URL; "" when there is none
	Files []string       // to be fetched
	Try   bool           // not all of Files have to exist

	Proc    string                                                                 // default /proc
	Now     func() time.Time                                                       // default time.Now
	Command func(ctx context.Context, name string, args ...string) ([]byte, error) // default os/exec
}

// Run asks all questions. It ends early only with ctx.
func Run(ctx context.Context, t Target) []Finding {
	if t.Proc == "" {
		t.Proc = "/proc"
	}
	if t.Now == nil {
		t.Now = time.Now
	}
	if t.Command == nil {
		t.Command = func(ctx context.Context, name string, args ...string) ([]byte, error) {
			return exec.CommandContext(ctx, name, args...).Output()
		}
	}
	var all []Finding
	for _, c := range Checks() {
		if c.Here && !t.Here || ctx.Err() != nil {
			continue
		}
		for _, f := range c.run(ctx, &t) {
			f.Check = c.Name
			all = append(all, f)
		}
	}
	return all
}

// Worst counts the findings that need attention.
func Worst(all []Finding) (attention int) {
	for _, f := range all {
		if f.Level == Attention {
			attention++
		}
	}
	return attention
}
