package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

// The lines of the log about a machine have the id of its record, whatever part of the
// program writes them: DHCP, the records, TFTP, HTTP and the join listener.
func TestLogFollowsDevice(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	serve(t, p, "--dhcp", "server", "--pool", "10.77.0.11-10.77.0.11", "--probe=false", "--devices-unknown", "approve",
		"--log-format", "json", "--log-level", "debug")
	h := p.Network.Clients[0]
	mac := h.MAC.String()
	sh(t, h, "busybox udhcpc -i eth0 -f -n -q -t 3 -T 2 -B -V PXEClient:Arch:00007:UNDI:003016 -x 0x5d:0007 -s /bin/true")
	out, err := p.Run(t.Context(), "device", "list", "--json", "--data", p.Data)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ID   string
		MACs []string
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || len(list[0].MACs) != 1 || list[0].MACs[0] != mac {
		t.Fatalf("%v: %s", err, out)
	}
	id := list[0].ID
	if _, err := p.Run(t.Context(), "device", "approve", id, "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	sh(t, h, "curl -sSf -o /dev/null tftp://10.77.0.1/snponly.efi")
	sh(t, h, "curl -sSf -o /dev/null http://10.77.0.1:8080/snponly.efi")
	sh(t, h, "curl -skS -o /dev/null https://10.77.0.1:8443/v1/policy")
	deadline := time.Now().Add(10 * time.Second)
	for {
		loggers := map[string]bool{}
		for line := range strings.Lines(p.Server.Output.String()) {
			var l struct{ Logger, MAC, Device, Peer string }
			if json.Unmarshal([]byte(line), &l) != nil || l.MAC != mac && !strings.HasPrefix(l.Peer, h.Addr.String()) {
				continue
			}
			if l.Device == id {
				loggers[l.Logger] = true
			}
			// The first question is what the record is made of.
			if l.Device != id && l.Device != "" {
				t.Errorf("%s", line)
			}
		}
		missing := ""
		for _, want := range []string{"dhcp", "devices", "tftp", "http", "join"} {
			if !loggers[want] {
				missing += " " + want
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the record's id is in no line of%s:\n%s", missing, p.Server.Output.Tail(40))
		}
		time.Sleep(100 * time.Millisecond)
	}
}
