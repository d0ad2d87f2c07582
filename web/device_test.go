package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/test/contents"
	"castpoint/web/admin"
	"castpoint/web/admin/devices"
	"castpoint/web/admit"
)

// withDevices adds records to a point.
func withDevices(t testing.TB, policy deploy.Policy) func(*Config) {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	timeline, err := event.New(event.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := deploy.Open(t.Context(), deploy.Config{Store: s, Unknown: policy, Note: timeline.Record})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := devices.Close(); err != nil {
			t.Error(err)
		}
		timeline.Close()
		_ = s.Close()
	})
	return func(c *Config) { c.Devices, c.Timeline = devices, timeline }
}

func TestDevicesByAdminAPI(t *testing.T) {
	for name := range map[string]bool{"running server": true, "in process": true} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t, contents.Free, withDevices(t, deploy.PolicyApprove))
			c := clients(t, p)[name]
			call := func(method, path string, body, answer any) int {
				t.Helper()
				err := c.Call(t.Context(), method, path, body, answer)
				if err == nil {
					return http.StatusOK
				}
				problem, ok := errors.AsType[*protocol.Problem](err)
				if !ok {
					t.Fatal(err)
				}
				return problem.Status
			}
			var d deploy.Device
			if got := call("POST", "/devices", devices.AddDevice{Name: "pc-1", MACs: []string{"52-54-00-00-00-01"}}, &d); got != 200 || d.State != deploy.StateKnown || d.MACs[0] != "52:54:00:00:00:01" {
				t.Fatalf("%d %+v", got, d)
			}
			for _, bad := range []struct {
				method, path string
				body         any
				want         int
			}{
				{"POST", "/devices", devices.AddDevice{Name: "PC-1", MACs: []string{"52-54-00-00-00-02"}}, 409},
				{"POST", "/devices", devices.AddDevice{Name: "x"}, 400},
				{"POST", "/devices", map[string]any{"colour": "x"}, 422},
				{"GET", "/devices/nobody", nil, 404},
				{"PATCH", "/devices/nobody", devices.SetDevice{}, 404},
				{"PATCH", "/devices/pc-1", devices.SetDevice{DropMACs: []string{"52:54:00:00:00:09"}}, 400},
				{"PATCH", "/devices/pc-1", devices.SetDevice{Settings: &[]string{"chain=x"}}, 400},
				{"GET", "/devices?limit=0", nil, 422},
				{"GET", "/devices/pc-1/timeline?before=x", nil, 422},
				{"GET", "/devices/nobody/timeline", nil, 404},
			} {
				if got := call(bad.method, bad.path, bad.body, nil); got != bad.want {
					t.Errorf("%s %s: %d, want %d", bad.method, bad.path, got, bad.want)
				}
			}
			yes, notes, value := true, "by the window", "ann"
			set := devices.SetDevice{AddMACs: []string{"525400000003"}, Protected: &yes, Notes: &notes, Variables: map[string]*string{"OWNER": &value}, Settings: &[]string{"chain=ipxe"}}
			if got := call("PATCH", "/devices/"+url.PathEscape("52:54:00:00:00:01"), set, &d); got != 200 || len(d.MACs) != 2 || d.Variables["OWNER"] != "ann" || d.Boot.Settings[0] != "chain=ipxe" {
				t.Errorf("%d %+v", got, d)
			}
			if got := call("DELETE", "/devices/pc-1", nil, nil); got != 409 {
				t.Errorf("a protected device was removed: %d", got)
			}
			// One asks, is denied, and is approved.
			mac, _ := net.ParseMAC("52:54:00:00:00:07")
			client := boot.Client{MAC: mac, PXE: true}
			p.cfg.Devices.See(client)
			if _, err := p.BootToken(t.Context(), client); err == nil || !strings.Contains(err.Error(), "waits for approval") {
				t.Errorf("a machine that waits got a ticket: %v", err)
			}
			var page deploy.Page
			if call("GET", "/devices?state=waiting", nil, &page); page.Total != 1 {
				t.Fatalf("%+v", page)
			}
			var st admin.Status
			if call("GET", "/status", nil, &st); st.Devices[deploy.StateWaiting] != 1 || st.Devices[deploy.StateKnown] != 1 {
				t.Errorf("%+v", st.Devices)
			}
			id := page.Devices[0].ID
			refused := func() bool { _, err := p.BootToken(t.Context(), client); return err != nil }
			if got := call("POST", "/devices/"+id+"/deny", nil, &d); got != 200 || d.State != deploy.StateDenied || !refused() {
				t.Errorf("%d %+v", got, d)
			}
			if got := call("POST", "/devices/"+id+"/approve", devices.ApproveDevice{Name: "pc-7"}, &d); got != 200 || d.State != deploy.StateKnown || refused() {
				t.Errorf("%d %+v", got, d)
			}
			var imported deploy.Imported
			if err := c.Send(t.Context(), "/devices/import", "text/csv", strings.NewReader("name,mac\npc-8,52:54:00:00:00:08\n"), &imported); err != nil || imported.Added != 1 {
				t.Errorf("%+v, %v", imported, err)
			}
			if err := c.Send(t.Context(), "/devices/import", "text/csv", strings.NewReader("name,mac\npc-9,x\n"), &imported); err == nil || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("%v", err)
			}
			var events event.Page
			if got := call("GET", "/devices/pc-7/timeline", nil, &events); got != 200 || len(events.Events) != 3 || !strings.Contains(events.Events[2].Message, "approved") || events.Events[2].By != "root" {
				t.Errorf("%d %+v", got, events)
			}
			if got := call("GET", "/devices/52:54:00:99:99:99/timeline", nil, &events); got != 200 || len(events.Events) != 0 {
				t.Errorf("a machine that is not on record: %d %+v", got, events)
			}
			if got := call("DELETE", "/devices/pc-8", nil, nil); got != 200 {
				t.Errorf("%d", got)
			}
		})
	}
}

// TestFollowTimeline: what is there, then what happens, each once.
func TestFollowTimeline(t *testing.T) {
	p := newPoint(t, contents.Free, withDevices(t, deploy.PolicyServe))
	for name, c := range clients(t, p) {
		mac := map[string]string{"running server": "52:54:00:00:00:01", "in process": "52:54:00:00:00:02"}[name]
		record := func(text string) {
			p.cfg.Timeline.Record(event.Event{MAC: mac, Kind: event.KindBoot, Message: text})
		}
		record("before")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		err := c.Follow(ctx, "/devices/"+url.PathEscape(mac)+"/events", func(data []byte) error {
			got = append(got, string(data))
			switch len(got) {
			case 1:
				record("live")
			case 2:
				cancel()
			}
			return nil
		})
		cancel()
		if len(got) != 2 || !strings.Contains(got[0], `"before"`) || !strings.Contains(got[1], `"live"`) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReportsBecomeEvents(t *testing.T) {
	p := newPoint(t, contents.Free, withDevices(t, deploy.PolicyServe))
	secret := p.token(t, admit.Token{MAC: "52:54:00:00:00:01"})
	for _, e := range []protocol.Event{{Kind: "failed", Message: "the disk is full"}, {Kind: "progress", Blocks: 3, Total: 9, Rate: 5}} {
		if status, body := p.do(t, http.MethodPost, protocol.PathEvents, secret, e); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, body)
		}
	}
	if err := p.cfg.Timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, err := p.cfg.Timeline.Query(t.Context(), event.Filter{MACs: []string{"52:54:00:00:00:01"}}, 0, 0, 0)
	if err != nil || len(page.Events) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	if e := page.Events[0]; e.Kind != event.KindError || !e.Trouble {
		t.Errorf("%+v", e)
	}
	if e := page.Events[1]; e.Kind != event.KindProgress || e.Blocks != 3 || e.Trouble {
		t.Errorf("%+v", e)
	}
}
