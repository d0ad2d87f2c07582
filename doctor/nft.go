package doctor

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// nftItem is one element of what nft -j prints (libnftables-json(5)).
type nftItem struct {
	Chain *struct {
		Family, Table, Name, Type, Hook, Policy string
	}
	Rule *struct {
		Family, Table, Chain string
		Handle               int
		Expr                 []map[string]json.RawMessage
	}
	Set *struct {
		Family, Table, Name string
		Elem                []json.RawMessage
	}
}

// parseNFT reads tables of the families that IPv4 packets pass.
func parseNFT(b []byte) ([]ruleset, error) {
	var all struct{ Nftables []nftItem }
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	tables := map[string]ruleset{}
	named := map[string][]json.RawMessage{}
	for _, item := range all.Nftables {
		if s := item.Set; s != nil {
			named[s.Family+" "+s.Table+" @"+s.Name] = s.Elem
		}
		c := item.Chain
		if c == nil || c.Family != "ip" && c.Family != "inet" {
			continue
		}
		key := c.Family + " " + c.Table
		if tables[key] == nil {
			tables[key] = ruleset{}
		}
		into := &chain{policy: c.Policy}
		if c.Type == "filter" {
			into.hook = c.Hook
		}
		tables[key][c.Name] = into
	}
	for _, item := range all.Nftables {
		r := item.Rule
		if r == nil || tables[r.Family+" "+r.Table][r.Chain] == nil {
			continue
		}
		key := r.Family + " " + r.Table
		c := tables[key][r.Chain]
		out := rule{text: fmt.Sprintf("rule %d of chain %s in table %s (nft -a list table %s)", r.Handle, r.Chain, key, key)}
		for _, e := range r.Expr {
			for kind, raw := range e {
				out.nft(kind, raw, func(name string) []json.RawMessage { return named[key+" "+name] })
			}
		}
		c.rules = append(c.rules, out)
	}
	var sets []ruleset
	for _, s := range tables {
		sets = append(sets, s)
	}
	return sets, nil
}

// nft adds one expression of a rule.
func (r *rule) nft(kind string, raw json.RawMessage, set func(string) []json.RawMessage) {
	unknown := func(packet) tri { return maybe }
	switch kind {
	case "accept", "drop", "return":
		r.verdict = kind
	case "reject":
		r.verdict = "drop"
	case "jump", "goto":
		var to struct{ Target string }
		_ = json.Unmarshal(raw, &to) // "" is a chain that is not there
		r.verdict, r.target = kind, to.Target
	case "counter", "log", "comment":
	case "match":
		var m struct {
			Op          string
			Left, Right json.RawMessage
		}
		if json.Unmarshal(raw, &m) != nil || m.Op != "==" && m.Op != "!=" && m.Op != "in" {
			r.conditions = append(r.conditions, unknown)
			return
		}
		// "tcp dport != 22" is about TCP only.
		var l struct{ Payload *struct{ Protocol string } }
		if json.Unmarshal(m.Left, &l) == nil && l.Payload != nil && (l.Payload.Protocol == "udp" || l.Payload.Protocol == "tcp") {
			r.conditions = append(r.conditions, func(p packet) tri { return known(p.proto == l.Payload.Protocol) })
		}
		cond := nftMatch(m.Left, expand(m.Right, set))
		if m.Op == "!=" {
			plain := cond
			cond = func(p packet) tri { return yes - plain(p) }
		}
		r.conditions = append(r.conditions, cond)
	default: // a limit, a map, an extension of iptables
		r.conditions = append(r.conditions, unknown)
	}
}

// expand makes a list of what stands to the right: one value, a set, or the name
// of one.
func expand(raw json.RawMessage, set func(string) []json.RawMessage) []json.RawMessage {
	var name string
	if json.Unmarshal(raw, &name) == nil && len(name) > 0 && name[0] == '@' {
		return set(name)
	}
	var inline struct{ Set []json.RawMessage }
	if json.Unmarshal(raw, &inline) == nil && inline.Set != nil {
		return inline.Set
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	return []json.RawMessage{raw}
}

// nftMatch is the condition that what stands to the left is one of the values.
func nftMatch(left json.RawMessage, values []json.RawMessage) func(packet) tri {
	var l struct {
		Payload *struct{ Protocol, Field string }
		Meta    *struct{ Key string }
		CT      *struct{ Key string }
	}
	if json.Unmarshal(left, &l) != nil {
		return func(packet) tri { return maybe }
	}
	words := func(word string) tri {
		return known(slices.ContainsFunc(values, func(v json.RawMessage) bool {
			var s string
			return json.Unmarshal(v, &s) == nil && s == word
		}))
	}
	switch {
	case l.CT != nil && l.CT.Key == "state":
		return func(p packet) tri {
			if p.established {
				return words("established")
			}
			return words("new")
		}
	case l.Meta != nil && l.Meta.Key == "l4proto":
		return func(p packet) tri { return words(p.proto) }
	case l.Meta != nil && (l.Meta.Key == "iifname" || l.Meta.Key == "iif"):
		return func(p packet) tri {
			if p.hook != "input" {
				return no
			}
			return words(p.iface)
		}
	case l.Meta != nil && (l.Meta.Key == "oifname" || l.Meta.Key == "oif"):
		return func(p packet) tri {
			if p.hook != "output" {
				return no
			}
			return words(p.iface)
		}
	case l.Payload != nil && l.Payload.Field == "dport":
		return func(p packet) tri {
			if p.hook == "output" {
				return maybe // the port of a group is not one of the questions
			}
			return anyOf(values, func(v json.RawMessage) tri { return portIn(v, p.port) })
		}
	case l.Payload != nil && l.Payload.Protocol == "ip" && l.Payload.Field == "protocol":
		return func(p packet) tri { return words(p.proto) }
	case l.Payload != nil && l.Payload.Protocol == "ip" && l.Payload.Field == "daddr":
		return func(p packet) tri {
			if !p.to.IsValid() {
				return maybe
			}
			return anyOf(values, func(v json.RawMessage) tri { return addressIn(v, p.to) })
		}
	}
	return func(packet) tri { return maybe }
}

func anyOf(values []json.RawMessage, is func(json.RawMessage) tri) tri {
	holds := no
	for _, v := range values {
		holds = max(holds, is(v))
	}
	return holds
}

// portIn is whether a number or a range has the port.
func portIn(v json.RawMessage, port uint16) tri {
	var n uint16
	if json.Unmarshal(v, &n) == nil {
		return known(n == port)
	}
	var r struct{ Range [2]uint16 }
	if json.Unmarshal(v, &r) == nil && r.Range[1] > 0 {
		return known(port >= r.Range[0] && port <= r.Range[1])
	}
	return maybe
}

// addressIn is whether an address, a prefix or a range has the address.
func addressIn(v json.RawMessage, a netip.Addr) tri {
	var s string
	if json.Unmarshal(v, &s) == nil {
		one, err := netip.ParseAddr(s)
		if err != nil {
			return maybe
		}
		return known(one == a)
	}
	var e struct {
		Prefix *struct {
			Addr netip.Addr
			Len  int
		}
		Range []netip.Addr
	}
	if json.Unmarshal(v, &e) != nil {
		return maybe
	}
	switch {
	case e.Prefix != nil:
		return known(netip.PrefixFrom(e.Prefix.Addr, e.Prefix.Len).Contains(a))
	case len(e.Range) == 2:
		return known(e.Range[0].Compare(a) <= 0 && a.Compare(e.Range[1]) <= 0)
	}
	return maybe
}
