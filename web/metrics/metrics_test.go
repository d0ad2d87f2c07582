package metrics

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func state() State {
	return State{
		DHCP: DHCP{Answered: 7, Silent: 2}, Leases: 3,
		Sessions: []Session{
			{ID: "a", Content: "win11", Interface: "eth1", State: "sending", Rate: 9e8, Target: 9.5e8, Sent: 1000, Repair: 10, Members: map[string]int{"receiving": 4, "done": 1}, Loss: 0.02, Injectors: 1},
			{ID: "b", Content: "win10", State: "ended", Sent: 500, Repair: 5},
		},
		Contents: map[string]int{"os-image": 2}, Damaged: 1, Stored: 5e9, Free: 1e10, Devices: map[string]int{"known": 4, "waiting": 1}, EventsLost: 6,
		Deployments: []Deployment{{Name: "pilot", Targets: map[string]int{"running": 3}}},
	}
}

// used has something to say of every metric.
func used(s *State) *Metrics {
	m := New(Config{Version: "1.2", Read: func() State { return *s }})
	m.DHCP("DISCOVER", "OFFER")
	m.DHCP("DISCOVER", "")
	m.TFTP("finished", 1000, 3, time.Second)
	m.TFTP("probe", 0, 0, 0)
	m.HTTP(200, 500, time.Second)
	m.HTTP(404, 0, time.Second)
	m.API("get-status", 200, time.Millisecond, false)
	m.API("follow-events", 200, time.Hour, true)
	return m
}

func TestMetrics(t *testing.T) {
	s := state()
	m := used(&s)
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`castpoint_build_info{go="go`, `version="1.2"} 1`,
		`castpoint_dhcp_packets_total{result="answered"} 7`, `castpoint_dhcp_netboot_total{answer="none",asked="DISCOVER"} 1`,
		`castpoint_tftp_transfers_total{result="probe"} 1`, "castpoint_tftp_bytes_total 1000\n", "castpoint_tftp_transfer_seconds_count 1\n",
		`castpoint_http_requests_total{code="404"} 1`, "castpoint_http_request_seconds_count 1\n",
		`castpoint_multicast_sessions{state="sending"} 1`, `castpoint_multicast_sessions{state="idle"} 0`,
		`castpoint_multicast_members{content="win11",session="a",state="receiving"} 4`, "castpoint_multicast_sent_bytes_total 1500\n",
		`castpoint_multicast_loss_ratio{content="win11",session="a"} 0.02`, `castpoint_multicast_injectors{content="win11",session="a"} 1`,
		"castpoint_content_damaged 1\n", `castpoint_devices{state="waiting"} 1`, "castpoint_events_lost_total 6\n",
		`castpoint_deployment_targets{deployment="pilot",state="running"} 3`,
		`castpoint_api_requests_total{code="200",operation="follow-events"} 1`, "castpoint_api_request_seconds_count 1\n", "go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "win10") {
		t.Error("a session that has ended is shown")
	}
	// One has gone on, one is forgotten, one is new: the sum only rises.
	s.Sessions = []Session{{ID: "a", State: "ended", Sent: 1100, Repair: 12}, {ID: "c", State: "sending", Sent: 7}}
	w = httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if text := w.Body.String(); !strings.Contains(text, "castpoint_multicast_sent_bytes_total 1607\n") || !strings.Contains(text, "castpoint_multicast_repair_bytes_total 17\n") {
		t.Error(text)
	}
}

// TestNames: metrics keep to Prometheus's rules for names and help texts.
func TestNames(t *testing.T) {
	s := state()
	problems, err := testutil.GatherAndLint(used(&s).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "castpoint_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestDocumented: docs/metrics.md has every metric with its labels, and no other.
func TestDocumented(t *testing.T) {
	s := state()
	families, err := used(&s).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "castpoint_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		want[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ", ")
	}
	page, err := os.Open("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	row := regexp.MustCompile("^\\| `(castpoint_[a-z0-9_]+)` \\| ([a-z]+) \\|([^|]*)\\|")
	got := map[string]string{}
	for lines := bufio.NewScanner(page); lines.Scan(); {
		if m := row.FindStringSubmatch(lines.Text()); m != nil {
			labels := strings.Split(strings.NewReplacer("`", "", " ", "").Replace(m[3]), ",")
			slices.Sort(labels)
			got[m[1]] = m[2] + " " + strings.Join(labels, ", ")
		}
	}
	for name, is := range want {
		if got[name] != is {
			t.Errorf("%s is %q, the page says %q", name, is, got[name])
		}
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestDashboard: the panels of the dashboard ask for metrics that there are.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../packaging/grafana/castpoint.json")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`castpoint_[a-z0-9_]+`).FindAllString(string(text), -1)
	if len(found) < 15 {
		t.Errorf("it asks for %d metrics", len(found))
	}
	for _, name := range found {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("there is no %s", name)
		}
	}
}
