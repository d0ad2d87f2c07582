package console

import (
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"castpoint/multicast"
	"castpoint/test/browser"
	"castpoint/web"
	"castpoint/web/console/frame"
)

// screens is where pictures of pages are kept, for people to look at.
const screens = "../../bin/test/screens"

func openBrowser(t *testing.T, address string) *browser.Browser {
	t.Helper()
	path, err := browser.Find()
	if err != nil {
		t.Fatal(err)
	}
	b, err := browser.Open(t.Context(), path, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// All pages in a browser, with something of everything on them: no error in its
// console, nothing of another host, and no scrolling from side to side on a phone.
func TestPagesInBrowser(t *testing.T) {
	f := fullAPI(40, 250)
	began := noon
	f.listed = []web.SessionInfo{{Ended: &began, SessionStatus: multicast.SessionStatus{ID: "4f1a09c2"}}} // no samples but these
	c := newConsole(t, f)
	for i := range 240 {
		s := web.SessionInfo{SessionStatus: multicast.SessionStatus{ID: "4f1a09c2", State: "sending", Began: &began, Target: 430e6}}
		s.Rate, s.Sent, s.Repair = 380e6+30e6*math.Sin(float64(i)/9), uint64(i)*48e6, uint64(i*i)*12000
		c.sessions.Take(noon.Add(time.Duration(i)*time.Second), []web.SessionInfo{s})
	}
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop() // the pages that are watched
	post(c, "/doctor", nil)
	c.Jobs().Wait()
	b := openBrowser(t, server.URL)
	for _, p := range []struct{ path, name string }{
		{"/", "overview"}, {"/devices", "devices"}, {"/devices/d00001", "device"}, {"/contents", "contents"}, {"/contents/add", "add"}, {"/contents/winpe", "boot-image"},
		{"/contents/win11", "content"}, {"/boot-images", "boot-images"}, {"/sessions", "sessions"}, {"/sessions/4f1a09c2", "session"}, {"/sessions/77aa0001", "session-waiting"},
		{"/collections", "collections"}, {"/collections/col1", "collection"}, {"/sequences", "sequences"}, {"/sequences/bare-metal", "sequence"}, {"/sequences/add?template=windows", "edit"}, {"/deployments/add", "deploy"}, {"/runs/run2", "run-asks"},
		{"/doctor", "doctor"}, {"/server", "server"}, {"/leases", "leases"}, {"/access", "access"}, {"/account", "account"}, {"/audit", "audit"},
		{"/explain?mac=52:54:00:00:00:01", "explain"}, {"/settings", "settings"}, {"/deployments", "deployments"}, {"/deployments/dep1", "deployment"}, {"/runs/run1", "run"}, {"/docs/dhcp", "docs"}, {"/login?failed=denied", "login"},
	} {
		if err := b.Go(server.URL + p.path); err != nil {
			t.Fatal(err)
		}
		if err := b.Shoot(screens, "page-"+p.name, browser.Desktop, browser.Dark, browser.Phone); err != nil {
			t.Fatal(err)
		}
		// The last screen was the phone.
		if wide, err := browser.Eval[float64](b, "document.documentElement.scrollWidth"); err != nil || wide > browser.PhoneWidth {
			t.Errorf("%s is %g wide on a phone of %d: %v", p.path, wide, browser.PhoneWidth, err)
		}
		for _, text := range b.Trouble() {
			t.Errorf("%s: %s", p.path, text)
		}
	}
}

// A session of 500 members that all change each second: the page stays smooth, and
// keeps what a person has typed and where the focus is.
func TestCrowdInBrowser(t *testing.T) {
	f := fullAPI(500, 3)
	base := f.answers["/sessions/4f1a09c2"].(web.SessionInfo)
	n := 0
	f.answers["/sessions/4f1a09c2"] = func() any {
		n++
		s := base
		s.Members = append([]multicast.MemberStatus(nil), base.Members...)
		for i := range s.Members {
			s.Members[i].Complete += 20 * n
			s.Members[i].Seconds += float64(n)
		}
		return s
	}
	c := newConsole(t, f)
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop()
	b := openBrowser(t, server.URL)
	// The gaps between frames, and the changes of one cell.
	const watch = `window.gaps = []; window.changes = 0; window.last = 0;
(function frame(now) { if (window.last) { window.gaps.push(now - window.last); } window.last = now; requestAnimationFrame(frame); }(0));
new MutationObserver(function () { window.changes++; }).observe(document.querySelector('[data-key=m401] .progress'), {attributes: true, subtree: true});
document.querySelector('[data-key=m401] button').focus();`
	const events = 5
	type seen struct {
		Gaps    []float64
		Focus   string
		Rows    int
		Changes int
	}
	err := b.Go(server.URL + "/sessions/4f1a09c2")
	if err == nil {
		_, err = browser.Eval[any](b, watch+"; true")
	}
	if err == nil {
		err = b.Wait(time.Minute, fmt.Sprintf("window.changes >= %d", events))
	}
	var told seen
	if err == nil {
		told, err = browser.Eval[seen](b, `({Gaps: window.gaps, Focus: document.activeElement.closest('tr').getAttribute('data-key'), Rows: document.querySelectorAll('.members tbody tr').length, Changes: window.changes})`)
	}
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, b.Text())
	}
	slices.Sort(told.Gaps)
	sum := 0.0
	for _, gap := range told.Gaps {
		sum += gap
	}
	// The frames in which a page is changed are the slowest of some 60 a second.
	usual, longest := told.Gaps[len(told.Gaps)*9/10], told.Gaps[len(told.Gaps)-1]
	t.Logf("%d events in %.1f s, %d frames, nine in ten within %.0f ms, all within %.0f ms", told.Changes, sum/1000, len(told.Gaps), usual, longest)
	if told.Rows != 500 || told.Focus != "m401" {
		t.Errorf("%d rows, focus in %q", told.Rows, told.Focus)
	}
	if sum < (events-1)*float64(frame.Soon.Milliseconds()) {
		t.Errorf("%d events within %.0f ms", events, sum)
	}
	// Bounds for a machine that has other things to do.
	if usual > 250 || longest > 3000 {
		t.Errorf("one frame in ten took more than %.0f ms, one %.0f ms", usual, longest)
	}
	for _, text := range b.Trouble() {
		t.Error(text)
	}
	if err := b.Shoot(screens, "page-crowd", browser.Desktop); err != nil {
		t.Error(err)
	}
}
