package doctor

import (
	"net/netip"
	"testing"
	"time"
)

// questions are what doctor asks of a firewall.
var questions = []packet{
	{hook: "input", iface: "eth0", proto: "udp", port: 67},
	{hook: "input", iface: "eth0", proto: "tcp", port: 8080, established: true},
	{hook: "output", iface: "eth0", proto: "udp", to: netip.MustParseAddr("239.192.67.1")},
	{hook: "input", proto: "igmp", to: netip.MustParseAddr("224.0.0.1")},
}

// followAll asks every question, in bounded time: rules may jump in circles.
func followAll(t *testing.T, sets []ruleset) {
	t.Helper()
	began := time.Now()
	for _, s := range sets {
		for _, q := range questions {
			s.drops(q)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("%s to follow %d tables", took, len(sets))
	}
}

func FuzzNFT(f *testing.F) {
	for _, seed := range []string{
		`{"nftables":[{"chain":{"family":"inet","table":"filter","name":"input","handle":1,"type":"filter","hook":"input","prio":0,"policy":"drop"}},
		{"set":{"family":"inet","name":"ports","table":"filter","elem":[22,{"range":[60,70]}]}},
		{"rule":{"family":"inet","table":"filter","chain":"input","handle":4,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":"@ports"}},{"accept":null}]}},
		{"rule":{"family":"inet","table":"filter","chain":"input","handle":5,"expr":[{"match":{"op":"!=","left":{"meta":{"key":"iifname"}},"right":{"set":["eth0","lo"]}}},{"jump":{"target":"input"}}]}},
		{"rule":{"family":"inet","table":"filter","chain":"input","handle":6,"expr":[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},{"drop":null}]}},
		{"rule":{"family":"inet","table":"filter","chain":"input","handle":7,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"prefix":{"addr":"239.0.0.0","len":8}}}},{"goto":{"target":"other"}}]}}]}`,
		`{"nftables":[{"rule":{"expr":[{}]}},{"chain":{"family":"ip"}}]}`, `{}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if sets, err := parseNFT(b); err == nil {
			followAll(t, sets)
		}
	})
}

func FuzzIPTables(f *testing.F) {
	for _, seed := range []string{
		"*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n-A INPUT -p udp -m udp --dport 67:69 -j ACCEPT\n-A INPUT ! -i eth+ -j own\n" +
			"-A own -m conntrack --ctstate NEW,ESTABLISHED -m comment --comment \"two words\" -g own\n-A own -m limit --limit 3/min -j LOG --log-prefix \"x \"\n-A OUTPUT -d 239.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n",
		"*filter\n:INPUT\n-A INPUT !", "-A INPUT -j DROP", "*nat\n:INPUT DROP\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if sets, err := parseIPTables(b); err == nil {
			followAll(t, sets)
		}
	})
}

// Chains that jump to each other many times over: each jump doubled the work, and
// sixteen levels of it never ended.
func TestCirclesOfChains(t *testing.T) {
	text := "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n"
	for range 20 {
		text += "-A a -j b\n-A b -j a\n"
	}
	sets, err := parseIPTables([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	followAll(t, sets)
}
