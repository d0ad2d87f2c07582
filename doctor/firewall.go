package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// A firewall is judged by following made-up packets through its rules. A rule
// whose conditions are not all understood may or may not hold: what it accepts is
// taken as accepted, what it drops as not dropped. So what is reported is dropped
// for certain, and a silent check is no proof.

// packet is what a rule looks at.
type packet struct {
	hook        string // input or output
	iface       string // it comes or goes by; "" is any
	proto       string
	port        uint16 // destination
	to          netip.Addr
	established bool // an answer to what this machine sent
}

// tri is whether a condition holds.
type tri int8

const (
	no tri = iota
	maybe
	yes
)

func known(b bool) tri {
	if b {
		return yes
	}
	return no
}

// rule is one rule of either firewall.
type rule struct {
	conditions []func(packet) tri
	verdict    string // accept, drop, jump, goto, return, or "" for none
	target     string // of jump and goto
	text       string
}

// chain is a list of rules.
type chain struct {
	hook   string // input or output for one that packets begin in
	policy string
	rules  []rule
}

// ruleset are the chains of one table, by name.
type ruleset map[string]*chain

// drops tells which rule or policy drops the packet for certain; "" for none.
func (s ruleset) drops(p packet) string {
	for name, c := range s {
		if c.hook != p.hook {
			continue
		}
		steps := maxSteps
		verdict, text := s.follow(c, p, 0, &steps)
		if verdict == "" && c.policy == "drop" {
			verdict, text = "drop", "the policy of chain "+name
		}
		if verdict == "drop" {
			return text
		}
	}
	return ""
}

// maxSteps is how many rules are looked at for one packet: chains that jump to each
// other may be entered again and again.
const maxSteps = 100_000

// follow returns accept, drop, or "" at the end of the chain.
func (s ruleset) follow(c *chain, p packet, depth int, steps *int) (verdict, text string) {
	if depth > 16 { // the kernel's own limit
		return "accept", ""
	}
	for _, r := range c.rules {
		if *steps--; *steps < 0 {
			return "accept", "" // not known: nothing is said
		}
		holds := yes
		for _, cond := range r.conditions {
			holds = min(holds, cond(p))
		}
		if holds == no {
			continue
		}
		verdict, text := r.verdict, r.text
		if verdict == "jump" || verdict == "goto" {
			if to := s[r.target]; to != nil {
				verdict, text = s.follow(to, p, depth+1, steps)
			} else {
				verdict = "accept" // of somebody else's making
			}
			if r.verdict == "goto" && verdict == "" && holds == yes {
				return "", ""
			}
		}
		switch {
		case verdict == "accept":
			return "accept", ""
		case verdict == "drop" && holds == yes:
			return "drop", text
		case verdict == "return" && holds == yes:
			return "", ""
		}
	}
	return "", ""
}

func firewall(ctx context.Context, t *Target) []Finding {
	var all []Finding
	seen := false
	for _, source := range []struct {
		name, says string
		args       []string
		parse      func([]byte) ([]ruleset, error)
	}{
		{"nft", "nftables", []string{"-j", "list", "ruleset"}, parseNFT},
		{"iptables-legacy-save", "iptables", nil, parseIPTables},
		{"iptables-save", "iptables", nil, parseIPTables},
	} {
		b, err := t.Command(ctx, source.name, source.args...)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
			}
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("%s cannot be asked: %v", source.name, err), Do: "run castpoint doctor as root"})
			continue
		}
		sets, err := source.parse(b)
		if err != nil {
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("what %s says is not understood: %v", source.name, err)})
			continue
		}
		seen = true
		all = append(all, dropped(t, source.says, sets)...)
	}
	attention := 0
	for _, f := range all {
		if f.Level == Attention {
			attention++
		}
	}
	switch {
	case seen && attention == 0:
		all = append(all, Finding{Level: OK, Text: "no rule is known to drop what machines send, or what is sent to them"})
	case !seen && len(all) == 0:
		all = append(all, Finding{Level: OK, Text: "there is neither nft nor iptables"})
	}
	return all
}

// dropped follows the packets that a boot needs.
func dropped(t *Target, says string, sets []ruleset) (all []Finding) {
	report := func(p packet, what, way string) {
		for _, s := range sets {
			if text := s.drops(p); text != "" {
				all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s drops %s: %s", says, what, text), Do: way})
				return
			}
		}
	}
	for _, i := range t.Interfaces {
		for _, port := range t.Ports {
			for _, n := range []uint16{port.Port, port.Last} {
				if n == 0 {
					continue
				}
				where := fmt.Sprintf("%s port %d (%s)", strings.ToUpper(port.Proto), n, port.What)
				report(packet{hook: "input", iface: i.Name, proto: port.Proto, port: n, to: i.Address, established: port.Reply},
					where+" on "+i.Name, fmt.Sprintf("accept %s %d on %s", port.Proto, n, i.Name))
			}
		}
		for _, group := range t.Groups {
			if !group.IsValid() {
				continue
			}
			report(packet{hook: "output", iface: i.Name, proto: "udp", to: group},
				fmt.Sprintf("what is sent to group %s on %s", group, i.Name), fmt.Sprintf("accept udp to %s on %s", group, i.Name))
		}
	}
	return compact(all)
}

// compact leaves out what was said already.
func compact(all []Finding) (out []Finding) {
	said := map[Finding]bool{}
	for _, f := range all {
		if !said[f] {
			said[f] = true
			out = append(out, f)
		}
	}
	return out
}
