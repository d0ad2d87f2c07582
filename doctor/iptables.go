package doctor

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseIPTables reads the filter table that iptables-save prints.
func parseIPTables(b []byte) ([]ruleset, error) {
	set := ruleset{}
	table := ""
	for _, line := range lines(b) {
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case table != "filter" || len(f) < 2:
		case strings.HasPrefix(line, ":"):
			c := &chain{policy: strings.ToLower(f[1])}
			switch name := f[0][1:]; name {
			case "INPUT", "OUTPUT":
				c.hook = strings.ToLower(name)
			}
			set[f[0][1:]] = c
		case f[0] == "-A" && set[f[1]] != nil:
			r := iptablesRule(f[2:])
			r.text = strings.TrimSpace(line)
			set[f[1]].rules = append(set[f[1]].rules, r)
		}
	}
	return []ruleset{set}, nil
}

// iptablesRule reads the words behind the chain's name.
func iptablesRule(f []string) (r rule) {
	for i := 0; i < len(f); i++ {
		not := f[i] == "!"
		if not {
			i++
		}
		if i >= len(f) {
			break
		}
		flag, value := f[i], ""
		if i+1 < len(f) {
			value = f[i+1]
		}
		var cond func(packet) tri
		switch flag {
		case "-m", "--match": // what counts are its options
			i++
			switch value {
			case "udp", "tcp", "conntrack", "state", "multiport", "comment":
				continue
			}
			cond = func(packet) tri { return maybe }
		case "--comment":
			for i++; i < len(f) && strings.HasPrefix(value, `"`) && !strings.HasSuffix(f[i], `"`); i++ {
			}
			continue
		case "--reject-with", "--log-prefix", "--log-level":
			i++
			continue
		case "-j", "-g":
			i++
			r.verdict, r.target = iptablesVerdict(flag, value)
			continue
		default:
			cond = iptablesMatch(flag, value)
			if cond == nil {
				cond = func(packet) tri { return maybe }
			}
			i++
		}
		if not {
			plain := cond
			cond = func(p packet) tri { return yes - plain(p) }
		}
		r.conditions = append(r.conditions, cond)
	}
	return r
}

func iptablesVerdict(flag, target string) (verdict, chain string) {
	switch target {
	case "ACCEPT":
		return "accept", ""
	case "DROP", "REJECT":
		return "drop", ""
	case "RETURN":
		return "return", ""
	case "LOG", "NFLOG", "MARK", "CONNMARK":
		return "", ""
	}
	return map[string]string{"-j": "jump", "-g": "goto"}[flag], target
}

// iptablesMatch is the condition of an option with a value; nil when it is not
// known.
func iptablesMatch(flag, value string) func(packet) tri {
	switch flag {
	case "-p":
		return func(p packet) tri { return known(value == p.proto || value == "all") }
	case "-i":
		return func(p packet) tri { return known(p.hook == "input" && ifaceIs(value, p.iface)) }
	case "-o":
		return func(p packet) tri { return known(p.hook == "output" && ifaceIs(value, p.iface)) }
	case "--dport", "--dports":
		return func(p packet) tri {
			if p.hook == "output" {
				return maybe // the port of a group is not one of the questions
			}
			return known(slices.ContainsFunc(strings.Split(value, ","), func(s string) bool {
				from, to, ok := strings.Cut(s, ":")
				if !ok {
					to = from
				}
				a, err1 := strconv.ParseUint(from, 10, 16)
				b, err2 := strconv.ParseUint(to, 10, 16)
				return err1 == nil && err2 == nil && uint64(p.port) >= a && uint64(p.port) <= b
			}))
		}
	case "--ctstate", "--state":
		return func(p packet) tri {
			want := "NEW"
			if p.established {
				want = "ESTABLISHED"
			}
			return known(slices.Contains(strings.Split(value, ","), want))
		}
	case "-d":
		return func(p packet) tri {
			net, err := netip.ParsePrefix(value)
			if err != nil || !p.to.IsValid() {
				return maybe
			}
			return known(net.Contains(p.to))
		}
	}
	return nil
}

// ifaceIs compares names; "eth+" is every name that begins like that.
func ifaceIs(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
