package console

import (
	"fmt"
	"io/fs"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"castpoint/docs"
	"castpoint/multicast/sender"
	"castpoint/test/browser"
	"castpoint/web/console/frame"
	"castpoint/web/session"
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

// shot are the pages of which pictures are kept.
var shot = []struct{ path, name string }{
	{"/", "overview"}, {"/devices", "devices"}, {"/devices/d00001", "device"}, {"/devices/d00000", "device-long"}, {"/contents", "contents"}, {"/contents/add", "add"}, {"/contents/winpe", "boot-image"},
	{"/contents/win11", "content"}, {"/boot-images", "boot-images"}, {"/sessions", "sessions"}, {"/sessions/4f1a09c2", "session"}, {"/sessions/77aa0001", "session-waiting"},
	{"/collections", "collections"}, {"/collections/col1", "collection"}, {"/sequences", "sequences"}, {"/sequences/bare-metal", "sequence"}, {"/sequences/add?template=windows", "edit"}, {"/deployments/add", "deploy"}, {"/runs/run2", "run-asks"},
	{"/doctor", "doctor"}, {"/server", "server"}, {"/leases", "leases"}, {"/access", "access"}, {"/account", "account"}, {"/audit", "audit"},
	{"/explain?mac=52:54:00:00:00:01", "explain"}, {"/settings", "settings"}, {"/deployments", "deployments"}, {"/deployments/dep1", "deployment"}, {"/runs/run1", "run"}, {"/docs/dhcp", "docs"}, {"/docs?search=secure+boot", "docs-search"}, {"/login?failed=denied", "login"},
}

// All pages in a browser, with something of everything on them: no error in its
// console, nothing of another host, and no scrolling from side to side on a phone.
func TestPagesInBrowser(t *testing.T) {
	f := fullAPI(40, 250)
	began := noon
	f.listed = []session.Info{{Ended: &began, Status: sender.Status{ID: "4f1a09c2"}}} // no samples but these
	c := newConsole(t, f)
	for i := range 240 {
		s := session.Info{Status: sender.Status{ID: "4f1a09c2", State: "sending", Began: &began, Target: 430e6}}
		s.Rate, s.Sent, s.Repair = 380e6+30e6*math.Sin(float64(i)/9), uint64(i)*48e6, uint64(i*i)*12000
		c.sessions.Take(noon.Add(time.Duration(i)*time.Second), []session.Info{s})
	}
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop() // the pages that are watched
	post(c, "/doctor", nil)
	c.Jobs().Wait()
	b := openBrowser(t, server.URL)
	for _, p := range shot {
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
		for _, theme := range []string{"light", "dark"} {
			weak, err := browser.Eval[[]string](b, fmt.Sprintf("(%s)(%q, %g)", contrast, theme, minContrast))
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range weak {
				t.Errorf("%s, %s: %s", p.path, theme, text)
			}
		}
	}
}

// Every page of the documentation fits on a phone: what is wide, as tables and code, is
// scrolled by itself.
func TestDocumentationOnPhone(t *testing.T) {
	c := newConsole(t, fullAPI(3, 3))
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop()
	b := openBrowser(t, server.URL)
	if err := b.Screen(browser.Phone); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pattern := range []string{"*.md", "adr/*.md"} {
		list, err := fs.Glob(docs.Pages, pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, list...)
	}
	for _, name := range names {
		if err := b.Go(server.URL + "/docs/" + strings.TrimSuffix(name, ".md")); err != nil {
			t.Fatal(err)
		}
		if wide, err := browser.Eval[float64](b, "document.documentElement.scrollWidth"); err != nil || wide > browser.PhoneWidth {
			t.Errorf("%s is %g wide on a phone of %d: %v", name, wide, browser.PhoneWidth, err)
		}
		for _, text := range b.Trouble() {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// minContrast is what WCAG 2.1 asks of text (1.4.3, level AA).
const minContrast = 4.5

// contrast finds text that is too faint, in a theme. It computes the ratio of WCAG 2.1
// of what each element with text of its own is drawn in, over the colours below it.
// Buttons that are switched off need none.
const contrast = `function (theme, least) {
	document.documentElement.setAttribute('data-theme', theme);
	function colour(text) {
		var n = text.match(/[\d.]+/g).map(Number);
		return {r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1};
	}
	function light(c) {
		function part(v) { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }
		return 0.2126 * part(c.r) + 0.7152 * part(c.g) + 0.0722 * part(c.b);
	}
	function below(el) {
		for (; el; el = el.parentElement) {
			var c = colour(getComputedStyle(el).backgroundColor);
			if (c.a === 1) { return c; }
			if (c.a > 0) { return {r: -1}; }
		}
		return {r: 255, g: 255, b: 255};
	}
	var weak = {}, seen = 0, all = document.querySelectorAll('body *');
	for (var i = 0; i < all.length; i++) {
		var el = all[i], own = '';
		for (var k = el.firstChild; k; k = k.nextSibling) { if (k.nodeType === 3) { own += k.data; } }
		if (el.nodeName === 'INPUT' && el.type !== 'hidden' && el.type !== 'checkbox' && el.type !== 'radio') { own = el.value || el.placeholder; }
		var style = getComputedStyle(el);
		if (!own.trim() || el.offsetParent === null && el.nodeName !== 'BODY' || style.visibility === 'hidden' || el.closest('[disabled], .hidden, .skip, noscript, option')) { continue; }
		seen++;
		var a = light(colour(style.color)), ground = below(el), b = light(ground);
		var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ground.r < 0 || ratio < least) { weak[el.nodeName + '.' + el.className + ' ' + ratio.toFixed(2) + ': ' + own.trim().slice(0, 40)] = 1; }
	}
	document.documentElement.removeAttribute('data-theme');
	return seen < 5 ? ['only ' + seen + ' texts were looked at'] : Object.keys(weak);
}`

// Everything is reached by the keyboard, in the order in which it is read: the first
// key leads to the content, each thing that has the focus shows it, and nothing holds
// it fast.
func TestKeyboard(t *testing.T) {
	c := newConsole(t, fullAPI(3, 3))
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop()
	b := openBrowser(t, server.URL)
	type focus struct {
		What    string
		Visible bool // it is within the page, and its outline is drawn
		Place   int  // in the order of the document
	}
	const at = `(function () {
		var el = document.activeElement, style = getComputedStyle(el), box = el.getBoundingClientRect();
		if (el.nodeName === 'BODY') { return {What: '', Visible: true, Place: -1}; }
		if (el.id === 'menu') { style = getComputedStyle(el.nextElementSibling); box = el.nextElementSibling.getBoundingClientRect(); }
		return {What: el.nodeName + ' ' + (el.getAttribute('aria-label') || el.textContent.trim() || el.name || el.id),
			Visible: box.width > 1 && box.height > 1 && (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2),
			Place: Array.prototype.indexOf.call(document.querySelectorAll('*'), el)};
	}())`
	for _, path := range []string{"/", "/devices", "/devices/d00001", "/deployments/dep1", "/runs/run1", "/sessions/4f1a09c2", "/contents/win11", "/access", "/deployments/add"} {
		// A page that changes would lose no focus, but the count of what has it.
		if err := b.Go(server.URL + path); err != nil {
			t.Fatal(err)
		}
		want, err := browser.Eval[int](b, `(function () {
			if (document.activeElement !== document.body) { document.activeElement.blur(); }
			var n = 0, all = document.querySelectorAll('a[href], button:not([disabled]), input:not([type=hidden]), select, textarea, summary, [tabindex="0"]'), radios = {};
			for (var i = 0; i < all.length; i++) {
				var shown = all[i].offsetParent !== null && !all[i].closest('details:not([open]) > :not(summary)') && getComputedStyle(all[i]).visibility !== 'hidden';
				if (all[i].type === 'radio') { if (radios[all[i].name]) { continue; } radios[all[i].name] = 1; }
				if (shown) { n++; }
			}
			return n;
		}())`)
		if err != nil {
			t.Fatal(err)
		}
		last, stops := -1, 0
		for ; stops <= want+20; stops++ {
			if err := b.Key("Tab"); err != nil {
				t.Fatal(err)
			}
			f, err := browser.Eval[focus](b, at)
			if err != nil {
				t.Fatal(err)
			}
			if f.What == "" || f.Place < last && stops >= want {
				break // round to the browser's own controls
			}
			if !f.Visible {
				t.Errorf("%s: the focus is not seen on %q", path, f.What)
			}
			if f.Place < last {
				t.Errorf("%s: %q comes after what is behind it", path, f.What)
			}
			if stops == 0 && f.What != "A To the content of the page" {
				t.Errorf("%s: the first key leads to %q", path, f.What)
			}
			last = f.Place
		}
		if stops < want-1 || stops > want+1 {
			t.Errorf("%s: %d stops of the keyboard, and %d things to reach", path, stops, want)
		}
	}
	// The menu of a phone opens by the keyboard.
	if err := b.Shoot(t.TempDir(), "phone", browser.Phone); err != nil {
		t.Fatal(err)
	}
	if err := b.Go(server.URL + "/devices"); err != nil {
		t.Fatal(err)
	}
	if _, err := browser.Eval[any](b, "document.getElementById('menu').focus(), true"); err != nil {
		t.Fatal(err)
	}
	if err := b.Key(" "); err != nil {
		t.Fatal(err)
	}
	if shown, err := browser.Eval[bool](b, "document.querySelector('nav a[href=\"/audit\"]').offsetParent !== null"); err != nil || !shown {
		t.Errorf("the menu does not open: %v", err)
	}
	if err := b.Shoot(screens, "page-menu", browser.Phone); err != nil {
		t.Fatal(err)
	}
	for _, text := range b.Trouble() {
		t.Error(text)
	}
}

// Without the script pages are read and forms work: approving a device, and a question
// before something is removed.
func TestWithoutScript(t *testing.T) {
	f := fullAPI(3, 3)
	f.answers["/devices/d00001/approve"] = f.answers["/devices/d00001"]
	c := newConsole(t, f)
	server := httptest.NewServer(c)
	defer server.Close()
	defer c.Stop()
	b := openBrowser(t, server.URL)
	if err := b.WithoutScript(); err != nil {
		t.Fatal(err)
	}
	if err := b.Go(server.URL + "/devices/d00001"); err != nil {
		t.Fatal(err)
	}
	click := func(sel string) {
		t.Helper()
		if _, err := browser.Eval[bool](b, fmt.Sprintf("document.querySelector(%q).click(), true", sel)); err != nil {
			t.Fatal(err)
		}
	}
	click(`form[action$="/approve"] button`)
	if err := b.WaitText(20*time.Second, "Approved"); err != nil {
		t.Fatal(err)
	}
	if err := b.Go(server.URL + "/devices/d00001"); err != nil {
		t.Fatal(err)
	}
	click(`form[action$="/remove"] button`)
	if err := b.WaitText(20*time.Second, "Its timeline stays"); err != nil {
		t.Fatal(err)
	}
	if err := b.Shoot(screens, "page-ask", browser.Desktop, browser.Phone); err != nil {
		t.Fatal(err)
	}
	click(".ask .danger")
	if err := b.WaitText(20*time.Second, "Removed the record"); err != nil {
		t.Fatal(err)
	}
	if did := f.done(); len(did) != 2 || did[0] != "POST /devices/d00001/approve {}" || did[1] != "DELETE /devices/d00001 null" {
		t.Errorf("it did %q", did)
	}
	if strings.Contains(b.Text(), "Theme:") {
		t.Error("a button is there that does nothing")
	}
	for _, text := range b.Trouble() {
		t.Error(text)
	}
}

// A session of 500 members that all change each second: the page stays smooth, and
// keeps what a person has typed and where the focus is.
func TestCrowdInBrowser(t *testing.T) {
	f := fullAPI(500, 3)
	base := f.answers["/sessions/4f1a09c2"].(session.Info)
	n := 0
	f.answers["/sessions/4f1a09c2"] = func() any {
		n++
		s := base
		s.Members = append([]sender.MemberStatus(nil), base.Members...)
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
	// Changes of one cell, which is one for each event.
	const watch = `window.changes = 0; window.began = performance.now();
new MutationObserver(function () { window.changes++; }).observe(document.querySelector('[data-key=m401] .progress'), {attributes: true, subtree: true});
document.querySelector('[data-key=m401] button').focus();`
	const events = 5
	type seen struct {
		Took    float64 // ms
		Focus   string
		Rows    int
		Changes int
	}
	err := b.Go(server.URL + "/sessions/4f1a09c2")
	if err == nil {
		_, err = browser.Eval[any](b, watch+"; true")
	}
	var before, after time.Duration
	if err == nil {
		before, err = b.Spent()
	}
	if err == nil {
		err = b.Wait(time.Minute, fmt.Sprintf("window.changes >= %d", events))
	}
	if err == nil {
		after, err = b.Spent()
	}
	var told seen
	if err == nil {
		told, err = browser.Eval[seen](b, `({Took: performance.now() - window.began, Focus: document.activeElement.closest('tr').getAttribute('data-key'), Rows: document.querySelectorAll('.members tbody tr').length, Changes: window.changes})`)
	}
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, b.Text())
	}
	each := (after - before) / time.Duration(told.Changes)
	t.Logf("%d events in %.0f ms, %s of processor time for each", told.Changes, told.Took, each.Round(time.Millisecond))
	if told.Rows != 500 || told.Focus != "m401" {
		t.Errorf("%d rows, focus in %q", told.Rows, told.Focus)
	}
	if told.Took < (events-1)*float64(frame.Soon.Milliseconds()) {
		t.Errorf("%d events within %.0f ms", told.Changes, told.Took)
	}
	// One event comes in a second at most: people scroll and type in what it leaves.
	if each <= 0 || each > 600*time.Millisecond {
		t.Errorf("an event takes %s of processor time", each)
	}
	for _, text := range b.Trouble() {
		t.Error(text)
	}
	if err := b.Shoot(screens, "page-crowd", browser.Desktop); err != nil {
		t.Error(err)
	}
}
