package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/docs"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/admin"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/deployments"
	"castpoint/web/console/frame"
	"castpoint/web/console/job"
	"castpoint/web/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(c *Console, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// pages are all pages with everything on them, and what each must show.
var pages = map[string]string{
	"/":                                  "250 machines wait for approval",
	"/devices":                           "Next page",
	"/devices?state=waiting&search=pc":   "Show all",
	"/devices/d00001":                    "Older events",
	"/devices/d00001?kind=dhcp&before=9": "Newest events",
	"/devices/52:54:00:aa:aa:aa":         "do not reach this server",
	"/contents":                          "Repair",
	"/contents/add":                      "Upload a file",
	"/contents/win11":                    "Admit a receiver",
	"/contents/winpe":                    "does not boot",
	"/contents/bootenv":                  "initrd",
	"/boot-images":                       "Microsoft Windows Production PCA 2011",
	"/sessions":                          "20 members, 3 are here",
	"/sessions/4f1a09c2":                 "disk: no space left",
	"/sessions/4f1a09c2?order=name":      "pc-001",
	"/sessions/4f1a09c2?order=need":      "Somebody at 192.0.2.66 (pc-002, ",
	"/sessions/77aa0001":                 "Start now",
	"/sessions/0badcafe":                 "ended",
	"/explain":                           "Nothing is sent",
	"/explain?mac=52-54-00-00-00-01":     "Its boot script",
	"/explain?mac=52-54-00-00-00-02":     "What it was answered lately",
	"/docs":                              "Documentation",
	"/settings":                          "castpoint.yaml, line 3",
	"/settings?all=1":                    "tftp",
	"/deployments":                       "Windows 11 for room 101",
	"/deployments/dep1":                  "Deploy again",
	"/deployments/add?collection=col1":   "Who begins",
	"/collections":                       "Room 101",
	"/sequences":                         "bare-metal",
	"/sequences/add?template=windows":    "name: windows",
	"/sequences/add?sequence=bare-metal": "new revision",
	"/server":                            "castpoint backup",
	"/leases":                            "192.0.2.101",
	"/leases?search=nobody":              "No lease has that",
	"/doctor":                            "It has not looked",
	"/access":                            "Make a token",
	"/account":                           "Another password",
	"/audit":                             "approve-device",
	"/audit?failed=1&search=CI":          "needs the scope admin",
	"/docs/adr/0005-overlay":             "castpoint",
	"/docs?search=proxydhcp":             "ProxyDHCP",
	"/contents?kind=boot-image":          "Windows PE",
	"/deployments/dep1?state=failed":     "make the partition larger",
	"/deployments/dep1?state=waiting":    "sequence bare-metal needs values for Key",
	"/runs/run1":                         "The end of its output",
	"/runs/run2":                         "Which room?",
	"/collections/col1":                  "device.memory",
	"/sequences/bare-metal":              "Its text",
	"/login?failed=locked&next=/docs":    "Too many failed logins",
}

func TestPages(t *testing.T) {
	c := newConsole(t, fullAPI(40, 250))
	toDocs := map[string]string{} // links, and a page that has each
	list, err := fs.Glob(docs.Pages, "*.md")
	if err != nil || len(list) == 0 {
		t.Fatal(err, list)
	}
	for _, file := range list {
		pages["/docs/"+strings.TrimSuffix(file, ".md")] = "castpoint"
	}
	for path, want := range pages {
		t.Run(path, func(t *testing.T) {
			w := get(c, path)
			if w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%q is not there:\n%.3000s", want, w.Body)
			}
			if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("content security policy %q", csp)
			}
			for _, m := range regexp.MustCompile(`href="(/docs/[^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
				toDocs[m[1]] = path
			}
			checkHTML(t, path, w.Body)
		})
	}
	for link, path := range toDocs {
		to, anchor, _ := strings.Cut(link, "#")
		if w := get(c, to); w.Code != http.StatusOK || anchor != "" && !strings.Contains(w.Body.String(), `id="`+anchor+`"`) {
			t.Errorf("%s links to %s: %d", path, link, w.Code)
		}
	}
}

// checkHTML looks for what the content security policy would stop, forms that the
// server would refuse, addresses of other hosts, and what a screen reader misses.
func checkHTML(t *testing.T, path string, body io.Reader) {
	t.Helper()
	root, err := html.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	headings, ids := 0, map[string]bool{}
	var walk func(n *html.Node, labelled bool)
	walk = func(n *html.Node, labelled bool) {
		at, element := map[string]string{}, ""
		if n.Type == html.ElementNode {
			element = n.Data
		}
		for _, a := range n.Attr {
			at[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("<%s %s=%q>: the policy does not allow it", n.Data, a.Key, a.Val)
			}
			switch a.Key {
			case "src", "action":
				if !strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//") {
					t.Errorf("<%s %s=%q> is not on this server", n.Data, a.Key, a.Val)
				}
			case "id":
				if ids[a.Val] {
					t.Errorf("id %q is there twice", a.Val)
				}
				ids[a.Val] = true
			}
		}
		switch element {
		case "script":
			if at["src"] == "" {
				t.Error("a script within the page")
			}
		case "style":
			t.Error("a style within the page")
		case "h1":
			headings++
		case "label":
			labelled = true
		case "form":
			if at["method"] == "post" && at["action"] != "/login" && !hasField(n, "csrf") {
				t.Errorf("form %s has no CSRF token", at["action"])
			}
		case "input", "select", "textarea":
			if at["type"] != "hidden" && !labelled && at["aria-label"] == "" && at["id"] == "" {
				t.Errorf("field %q has no label", at["name"])
			}
		case "fieldset":
			labelled = false
		case "progress":
			if at["aria-label"] == "" {
				t.Error("a bar without a name")
			}
		}
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			walk(child, labelled)
		}
	}
	walk(root, false)
	if headings != 1 {
		t.Errorf("%d main headings", headings)
	}
}

func hasField(n *html.Node, name string) bool {
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		for _, a := range child.Attr {
			if child.Data == "input" && a.Key == "name" && a.Val == name {
				return true
			}
		}
		if hasField(child, name) {
			return true
		}
	}
	return false
}

// A new server has empty pages that say what to do.
func TestEmptyPages(t *testing.T) {
	f := &fakeAPI{answers: map[string]any{
		"/status": admin.Status{Version: "1.0"}, "/sessions": map[string]any{}, "/contents": map[string]any{}, "/devices": map[string]any{}, "/timeline": map[string]any{}, "/deployments": map[string]any{}, "/collections": map[string]any{}, "/sequences": map[string]any{}, "/dhcp/leases": map[string]any{},
	}}
	c := newConsole(t, f)
	for path, want := range map[string]string{
		"/": "First steps", "/devices": "castpoint device import", "/devices?state=waiting": "devices-unknown: approve", "/devices?search=x": "No device fits",
		"/deployments": "Make a collection", "/collections": "Make a collection", "/sequences": "Write one", "/leases": "No address is given away", "/contents": "The library is empty", "/boot-images": "castpoint bootenv build", "/sessions": "No content may be sent by multicast",
	} {
		w := get(c, path)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, no %q in\n%.3000s", path, w.Code, want, w.Body)
		}
		checkHTML(t, path, w.Body)
	}
}

func post(c *Console, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestActions(t *testing.T) {
	for _, a := range []struct {
		path, form string
		want       string // what the API is asked
		to         string
	}{
		{"/devices/d00001/approve", "name=pc-17&back=/devices", `POST /devices/d00001/approve {"name":"pc-17"}`, "/devices"},
		{"/devices/d00001/approve", "back=//evil.example", `POST /devices/d00001/approve {}`, "/devices/"},
		{"/devices/d00001/deny", "", `POST /devices/d00001/deny null`, "/devices/"},
		{"/devices/d00001/remove", "sure=1", `DELETE /devices/d00001 null`, "/devices"},
		{"/devices", "name=pc-9&macs=52:54:00:00:00:09+52:54:00:00:00:0a", `POST /devices {"name":"pc-9","macs":["52:54:00:00:00:09","52:54:00:00:00:0a"]}`, "/devices/"},
		{"/devices/chosen", "id=d00001&do=approve", `POST /devices/d00001/approve null`, "/devices"},
		{"/devices/chosen", "id=d00001&do=assign&image=server&group=lab", `PATCH /devices/d00001 {"groups":["room-101","lab"],"image":""}`, "/devices"},
		{"/devices/d00001", "delay=&protected-shown=1&groups=a+b&notes=x", `PATCH /devices/d00001 {"protected":false,"notes":"x","groups":["a","b"],"delay":-1}`, "/devices/d00001"},
		{"/contents/win11", "multicast-shown=1&encrypt-shown=1&encrypt=on&comment=", `PATCH /contents/win11 {"comment":"","multicast":false,"encrypt":true}`, "/contents/win11"},
		{"/contents/win11/remove", "sure=1", `DELETE /contents/win11 null`, "/contents"},
		{"/contents/win11/token", "name=bench", `POST /tokens {"content":"win11","name":"bench"}`, "/contents/"},
		{"/sessions", "content=win11&min_members=20&delay=120&rate=400", `POST /sessions {"content":"win11","min_members":20,"delay":120,"at":"0001-01-01T00:00:00Z","rate":400000000}`, "/sessions/"},
		{"/deployments", "name=x&sequence=bare-metal&collection=col1&purpose=required&confirm_size=40", `POST /deployments {"name":"x","sequence":"bare-metal","collection":"col1","purpose":"required","confirm_size":40}`, "/deployments/"},
		{"/deployments/dep1/switch", "disabled=1", `PATCH /deployments/dep1 {"disabled":true}`, "/deployments/dep1"},
		{"/deployments/dep1/again", "id=d00001&sure=1", `POST /deployments/dep1/again {"devices":["d00001"]}`, "/deployments/dep1"},
		{"/devices/chosen", "id=d00001&do=wake", `POST /devices/d00001/wake null`, "/devices"},
		{"/devices/chosen", "id=d00001&do=assign&collection=col1", `PATCH /collections/col1 {"add_devices":["d00001"]}`, "/devices"},
		{"/devices/chosen", "id=d00001&do=remove&sure=1", `DELETE /devices/d00001 null`, "/devices"},
		{"/devices/import", "table=name,mac%0apc,52:54:00:00:00:01", "SEND /devices/import text/csv name,mac\npc,52:54:00:00:00:01", "/devices"},
		{"/devices/d00001/wake", "", `POST /devices/d00001/wake null`, "/devices/d00001"},
		{"/devices/d00001/variables", "var.Owner=x&drop.Room=1&var-name=New&var-value=y", `PATCH /devices/d00001 {"variables":{"New":"y","Owner":"x","Room":null}}`, "/devices/d00001"},
		{"/devices/d00001/secrets", "name=Pin&value=1234", `PUT /devices/d00001/secrets/Pin {"value":"1234"}`, "/devices/d00001"},
		{"/devices/d00002/collections", "shown=col1&collection=col1", `PATCH /collections/col1 {"add_devices":["d00002"]}`, "/devices/d00002"},
		{"/devices/d00001/collections", "shown=col1", `PATCH /collections/col1 {"remove_devices":["d00001"]}`, "/devices/d00001"},
		{"/collections", "name=Lab&devices=pc-1+pc-2&group=lab", `POST /collections {"name":"Lab","devices":["pc-1","pc-2"],"rules":[{"group":"lab"}]}`, "/collections/"},
		{"/collections/col1", "name=Lab&notes=&except=", `PATCH /collections/col1 {"name":"Lab","notes":"","except":[]}`, "/collections/col1"},
		{"/collections/col1/devices", "devices=pc-1,pc-2", `PATCH /collections/col1 {"add_devices":["pc-1","pc-2"]}`, "/collections/col1"},
		{"/collections/col1/devices/remove", "id=d00001", `PATCH /collections/col1 {"remove_devices":["d00001"]}`, "/collections/col1"},
		{"/collections/col1/rules", "group=lab&firmware=uefi&when=device.tpm", `PATCH /collections/col1 {"add_rules":[{"firmware":"uefi","group":"lab","when":["device.tpm"]}]}`, "/collections/col1"},
		{"/collections/col1/rules/remove", "rule=0&changed=00010101000000.000000000", `PATCH /collections/col1 {"rules":[]}`, "/collections/col1"},
		{"/collections/col1/variables", "var.Locale=de-DE", `PATCH /collections/col1 {"variables":{"Locale":"de-DE"}}`, "/collections/col1"},
		{"/collections/col1/secrets", "name=AdminPassword&value=", `PUT /collections/col1/secrets/AdminPassword {"value":""}`, "/collections/col1"},
		{"/collections/col1/wake", "sure=1", `POST /devices/d00001/wake null`, "/collections/col1"},
		{"/collections/col1/remove", "sure=1", `DELETE /collections/col1 null`, "/collections"},
		{"/sequences", "text=name:+x%0d%0a&do=keep", "SEND /sequences application/yaml name: x\n", "/sequences/bare-metal"},
		{"/sequences/bare-metal/remove", "sure=1", `DELETE /sequences/bare-metal null`, "/sequences"},
		{"/deployments", "name=x&sequence=s&collection=col1&purpose=available&start=2026-11-30T22:00&hours=22:00-05:00&rerun=if-failed&wake-shown=1&wake=on&confirm-shown=1", `POST /deployments {"name":"x","sequence":"s","collection":"col1","purpose":"available","start":"` + time.Date(2026, 11, 30, 22, 0, 0, 0, time.Local).Format(time.RFC3339) + `","hours":"22:00-05:00","rerun":"if-failed","confirm":false,"wake":true}`, "/deployments/"},
		{"/deployments/dep1", "name=y&notes=n&drop_password-shown=1&password=", `PATCH /deployments/dep1 {"rename":"y","notes":"n"}`, "/deployments/"},
		{"/deployments/dep1", "name=y&drop_password-shown=1&drop_password=on&password=", `PATCH /deployments/dep1 {"rename":"y","password":""}`, "/deployments/"},
		{"/deployments/dep1/remove", "sure=1", `DELETE /deployments/dep1 null`, "/deployments"},
		{"/runs/run1/cancel", "sure=1", `POST /runs/run1/cancel null`, "/runs/run1"},
		{"/settings/reload", "", `POST /reload null`, "/settings"},
		{"/server/log", "logger=dhcp&level=debug", `PUT /log/dhcp {"level":"debug"}`, "/server#log"},
		{"/access/users", "name=bert&password=long+enough&again=long+enough&scope=read", `POST /access/users {"name":"bert","password":"long enough","scope":"read"}`, "/access"},
		{"/access/users/rita", "scope=operate", `PATCH /access/users/rita {"scope":"operate"}`, "/access"},
		{"/access/users/rita/remove", "sure=1", `DELETE /access/users/rita null`, "/access"},
		{"/access/tokens/0a1b2c3d/revoke", "sure=1", `DELETE /access/tokens/0a1b2c3d null`, "/access"},
		{"/access/lockouts/lift", "who=user+rita", `DELETE /access/lockouts/user%20rita null`, "/access"},
		{"/account/password", "old=ten+letters&password=long+enough&again=long+enough", `PUT /access/self/password {"old":"ten letters","new":"long enough"}`, "/account"},
		{"/runs/run1/retry", "step=3", `POST /runs/run1/retry {"step":"3"}`, "/runs/run1"},
		{"/runs/run2/answers", "answer.Room=101&csrf=x", `POST /runs/run2/answers {"answers":{"Room":"101"}}`, "/runs/run2"},
		{"/sessions", "content=win11&now=1", `POST /sessions {"content":"win11","now":true}`, "/sessions/"},
		{"/sessions/4f1a09c2/cancel", "sure=1", `DELETE /sessions/4f1a09c2 null`, "/sessions"},
		{"/sessions/4f1a09c2/members/3/kick", "sure=1", `DELETE /sessions/4f1a09c2/members/3 null`, "/sessions/4f1a09c2"},
	} {
		f := fullAPI(3, 3)
		c := newConsole(t, f)
		form, err := url.ParseQuery(a.form)
		if err != nil {
			t.Fatal(err)
		}
		w := post(c, a.path, form)
		did := f.done()
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != a.to {
			t.Errorf("%s %s: %d to %q, want to %q: %s", a.path, a.form, w.Code, w.Header().Get("Location"), a.to, w.Body)
		}
		if want := strings.ReplaceAll(a.want, `"at":"0001-01-01T00:00:00Z",`, ""); len(did) != 1 || did[0] != want {
			t.Errorf("%s %s: asked for %q, want %q", a.path, a.form, did, want)
		}
		if len(w.Result().Cookies()) == 0 {
			t.Errorf("%s says nothing", a.path)
		}
	}
}

// What was done is said once, on the page behind it.
func TestSaid(t *testing.T) {
	c := newConsole(t, fullAPI(3, 3))
	w := post(c, "/devices/d00001/remove", url.Values{"sure": {"1"}})
	r := httptest.NewRequest(http.MethodGet, "/devices", nil)
	for _, k := range w.Result().Cookies() {
		r.AddCookie(k)
	}
	w = httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "Removed the record of d00001") {
		t.Error("it is not said")
	}
	if k := w.Result().Cookies(); len(k) != 1 || k[0].MaxAge >= 0 {
		t.Errorf("it would be said again: %v", k)
	}
}

func TestRefused(t *testing.T) {
	f := fullAPI(3, 3)
	f.refuse = &protocol.Problem{Status: http.StatusForbidden, Title: "Forbidden", Detail: "anna may only read", Hint: "ask an administrator"}
	c := newConsole(t, f)
	for path, form := range map[string]url.Values{
		"/devices/d00001/approve": nil,
		"/devices/chosen":         {"id": {"d00001", "d00002"}, "do": {"deny"}, "sure": {"1"}},
		"/sessions":               {"content": {"win11"}},
	} {
		w := post(c, path, form)
		for _, text := range []string{"anna may only read", "ask an administrator"} {
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: %d, no %q", path, w.Code, text)
			}
		}
	}
	if n := len(f.done()); n != 3 {
		t.Errorf("%d requests: what one device refuses for want of rights, the others do too", n)
	}
	for path, form := range map[string]url.Values{
		"/devices/chosen":                {"do": {"approve"}},
		"/access/users":                  {"name": {"x"}, "password": {"one password"}, "again": {"another one"}},
		"/devices/d00001/variables":      {"var-value": {"x"}},
		"/deployments":                   {"name": {"x"}, "start": {"soon"}},
		"/collections/col1/rules/remove": {"rule": {"0"}, "changed": {"yesterday"}},
		"/devices/d00001":                {"delay": {"soon"}},
		"/sessions":                      {"content": {"win11"}, "rate": {"fast"}},
		"/contents":                      {"kind": {"os-image"}},
	} {
		if w := post(c, path, form); w.Code != http.StatusBadRequest {
			t.Errorf("%s %v: %d", path, form, w.Code)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, "/devices/nobody": 404, "/docs/../secret": 307, "/docs/adr/nothing": 404, "/docs/adr/..%2fapi": 404, "/docs/nothing": 404, "/explain?mac=x": 400, "/login/assets/none": 404} {
		if w := get(c, path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// Who is not logged in any more comes to the login page, and from there back.
func TestStranger(t *testing.T) {
	f := fullAPI(3, 3)
	c, err := New(Config{API: f, Docs: docs.Pages, Sessions: func() []session.Info { return nil }, Person: func(*http.Request) (Person, bool) { return Person{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := get(c, "/devices?state=waiting")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login?next=%2Fdevices%3Fstate%3Dwaiting" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := get(c, "/login"); w.Code != http.StatusOK {
		t.Errorf("%d", w.Code)
	}
}

// Buttons that somebody may not press are not there.
func TestReader(t *testing.T) {
	c, err := New(Config{API: fullAPI(3, 3), Docs: docs.Pages, Sessions: func() []session.Info { return nil }, Person: func(*http.Request) (Person, bool) { return Person{Name: "rita"}, true }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for path := range pages {
		if strings.HasPrefix(path, "/login") || strings.HasPrefix(path, "/contents/add") || strings.HasPrefix(path, "/deployments/add") || strings.HasPrefix(path, "/sequences/add") || strings.HasPrefix(path, "/access") || path == "/account" {
			continue
		}
		body := get(c, path).Body.String()
		if n := strings.Count(body, `method="post"`) - strings.Count(body, `action="/logout"`); n != 0 {
			t.Errorf("%s has %d forms for a reader", path, n)
		}
	}
}

// An upload goes to the API while it comes in, and the page behind it shows the job.
func TestUpload(t *testing.T) {
	f := fullAPI(0, 0)
	step, release := make(chan struct{}), make(chan struct{})
	f.steps = func(ctx context.Context, _ func(done, total int64)) (any, error) {
		close(step)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return map[string]string{"id": "new1"}, nil
	}
	c := newConsole(t, f)
	send := func(content string) *httptest.ResponseRecorder {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for _, field := range [][2]string{{"csrf", "c5rf"}, {"kind", "os-image"}, {"name", "New"}, {"multicast", "on"}} {
			if err := m.WriteField(field[0], field[1]); err != nil {
				t.Fatal(err)
			}
		}
		if content != "" {
			part, err := m.CreateFormFile("file", `C:\images\install.wim`)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(part, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/contents/upload", &b)
		r.Header.Set("Content-Type", m.FormDataContentType())
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		return w
	}
	if w := send(""); w.Code != http.StatusBadRequest {
		t.Errorf("without a file: %d", w.Code)
	}
	w := send(strings.Repeat("MSWIM", 1000))
	if w.Code != http.StatusCreated || w.Header().Get("Location") != "/contents" {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	<-step
	if len(f.took) != 5000 {
		t.Fatalf("%d bytes", len(f.took))
	}
	if did := f.done(); did[0] != "UPLOAD comment=&file=install.wim&kind=os-image&multicast=true&name=New&version=" {
		t.Errorf("asked for %q", did)
	}
	if body := get(c, "/contents").Body.String(); !strings.Contains(body, "add install.wim") || !strings.Contains(body, "working") {
		t.Errorf("no progress in\n%.3000s", body)
	}
	close(release)
	c.Jobs().Wait()
	if body := get(c, "/contents").Body.String(); !strings.Contains(body, "added as new1") {
		t.Errorf("no result in\n%.3000s", body)
	}
	f.refuse = &protocol.Problem{Status: http.StatusConflict, Title: "Conflict", Detail: "there is one of that name"}
	if w := send("MSWIM"); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "there is one of that name") {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
}

func TestJobs(t *testing.T) {
	f := fullAPI(0, 0)
	f.steps = func(ctx context.Context, _ func(done, total int64)) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := newConsole(t, f)
	if w := post(c, "/contents/win11/validate", nil); w.Code != http.StatusSeeOther {
		t.Fatalf("%d", w.Code)
	}
	if body := get(c, "/contents/win11").Body.String(); !strings.Contains(body, "validate win11") {
		t.Error("the job is not shown")
	}
	if body := post(c, "/jobs/1/cancel", nil).Body.String(); !strings.Contains(body, "Cancel: validate win11?") {
		t.Errorf("it does not ask:\n%s", body)
	}
	post(c, "/jobs/1/cancel", url.Values{"sure": {"1"}})
	c.Jobs().Wait()
	if body := get(c, "/contents").Body.String(); !strings.Contains(body, "it was cancelled") {
		t.Errorf("no end in\n%.3000s", body)
	}
	post(c, "/jobs/1/dismiss", nil)
	if body := get(c, "/contents").Body.String(); strings.Contains(body, "validate win11") {
		t.Error("it is still shown")
	}
	f.steps = func(context.Context, func(done, total int64)) (any, error) { return nil, errors.New("disk on fire") }
	for range job.Keep + 5 {
		post(c, "/contents/win11/repair", url.Values{"path": {"/srv/install.wim"}})
		c.Jobs().Wait()
	}
	if n := len(c.Jobs().List(true)); n > job.Keep+1 {
		t.Errorf("%d jobs are kept", n)
	}
}

// A page that is watched is sent when it changes, and not oftener than it may.
func TestLive(t *testing.T) {
	f := fullAPI(3, 3)
	n := 0
	status := f.answers["/status"].(admin.Status)
	f.answers["/status"] = func() any {
		n++
		s := status
		s.Contents = 1000 + n
		return s
	}
	c := newConsole(t, f)
	server := httptest.NewServer(c)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	began := time.Now()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatal(got)
	}
	lines, seen := bufio.NewScanner(res.Body), 0
	for lines.Scan() && seen < 2 {
		if strings.Contains(lines.Text(), fmt.Sprintf(">%d</b>", 1001+seen)) {
			seen++
		}
	}
	if took := time.Since(began); seen != 2 || took < frame.Rather {
		t.Errorf("%d events in %s", seen, took)
	}
	cancel()
	if w := watch(c, "/contents/add"); w.Code != http.StatusNoContent {
		t.Errorf("a page that is not live: %d", w.Code)
	}
	http.DefaultClient.CloseIdleConnections()
}

func watch(c *Console, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/event-stream")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// What is hard to undo is asked first, with what follows from it, and is done only
// when somebody says yes. What was sent is still there then.
func TestAsks(t *testing.T) {
	members := deployments.Members{}
	for i := range 150 {
		members.Items = append(members.Items, deploy.Device{ID: fmt.Sprintf("d%05d", i), Protected: i < 10})
	}
	for _, a := range []struct{ path, form, says, sure string }{
		{"/devices/d00001/remove", "", "Its timeline stays", ""},
		{"/devices/chosen", "id=d00001&id=d00002&do=deny", "Deny 2 devices", ""},
		{"/devices/chosen", "id=d00001&do=remove&back=/devices?state=known", "Remove 1 device", ""},
		{"/contents/win11/remove", "", "it is the server&#39;s assignment", ""},
		{"/sessions/4f1a09c2/cancel", "", "have not everything yet", ""},
		{"/sessions/4f1a09c2/members/3/kick", "", "pc-003", ""},
		{"/deployments/dep1/again", "id=d00001&id=d00002", "from its first step", ""},
		{"/deployments/dep1/remove", "", "20 machines are running it now", ""},
		{"/runs/run1/cancel", "", "without an operating system", ""},
		{"/collections/col1/wake", "", "Wake 150 devices", ""},
		{"/collections/col1/remove", "", "stay on record", ""},
		{"/sequences/bare-metal/remove", "", "All its revisions", ""},
		{"/access/users/anna/remove", "", "That is you", ""},
		{"/access/tokens/0a1b2c3d/revoke", "", "Revoke the token ci", ""},
		{"/deployments", "name=x&sequence=s&collection=col1&purpose=required", "Let 140 machines install themselves", "140"},
	} {
		f := fullAPI(3, 3)
		f.answers["/collections/col1/members"] = members
		c := newConsole(t, f)
		form, err := url.ParseQuery(a.form)
		if err != nil {
			t.Fatal(err)
		}
		w := post(c, a.path, form)
		body := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(body, a.says) || len(f.done()) != 0 {
			t.Errorf("%s: %d, did %q, no %q in %s", a.path, w.Code, f.done(), a.says, body)
		}
		checkHTML(t, a.path, strings.NewReader(body))
		for name, values := range form {
			for _, value := range values {
				if field := fmt.Sprintf(`name="%s" value="%s"`, name, html.EscapeString(value)); !strings.Contains(body, field) {
					t.Errorf("%s: no field %s", a.path, field)
				}
			}
		}
		form.Set("sure", "1")
		if a.sure != "" {
			form.Set("sure-typed", "14")
			if w := post(c, a.path, form); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "not what was asked for") || len(f.done()) != 0 {
				t.Errorf("%s with something else typed: %d, did %q", a.path, w.Code, f.done())
			}
			form.Set("sure-typed", a.sure)
		}
		if w := post(c, a.path, form); w.Code != http.StatusSeeOther || len(f.done()) == 0 || a.sure != "" && !strings.Contains(f.done()[0], `"confirm_size":`+a.sure) {
			t.Errorf("%s, sure: %d, did %q: %s", a.path, w.Code, f.done(), w.Body)
		}
	}
}

// A token is shown on the page that answers, and nowhere else.
func TestSecretOfToken(t *testing.T) {
	f := fullAPI(0, 0)
	c := newConsole(t, f)
	tokens := f.answers["/access/tokens"]
	n := 0
	f.answers["/access/tokens"] = func() any {
		if n++; n == 1 {
			return accounts.CreatedAccessToken{Secret: "castpoint_s3cret", Token: access.Token{Name: "ci2", Scope: access.Read}}
		}
		return tokens
	}
	w := post(c, "/access/tokens", url.Values{"name": {"ci2"}, "scope": {"read"}, "days": {"90"}})
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), "castpoint_s3cret") || w.Header().Get("Cache-Control") != "no-store" || len(w.Result().Cookies()) != 0 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if did := f.done(); len(did) != 1 || did[0] != `POST /access/tokens {"name":"ci2","scope":"read","ttl":7776000}` {
		t.Errorf("%q", did)
	}
	if strings.Contains(get(c, "/access").Body.String(), "s3cret") {
		t.Error("it is shown again")
	}
}

// The doctor looks in the background; what he finds is on his page, and on the
// overview.
func TestDoctor(t *testing.T) {
	f := fullAPI(0, 0)
	c := newConsole(t, f)
	if w := post(c, "/doctor", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/doctor" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	c.Jobs().Wait()
	w := get(c, "/doctor")
	for _, text := range []string{"1 finding needs attention", "nft insert rule", "timedatectl", "1 check found nothing"} {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("no %q in\n%s", text, w.Body)
		}
	}
	checkHTML(t, "/doctor", w.Body)
	if body := get(c, "/").Body.String(); !strings.Contains(body, "1 finding needs attention") {
		t.Error("the overview does not say it")
	}
}

// What is wrong with a text is shown beside it, and the text stays.
func TestSequenceText(t *testing.T) {
	f := fullAPI(0, 0)
	f.answers["SEND /sequences/check"] = deployments.SequenceCheck{Problems: []sequence.Problem{{Line: 3, Text: "unknown field staps"}}}
	c := newConsole(t, f)
	w := post(c, "/sequences", url.Values{"text": {"name: x\nstaps: []"}, "do": {"keep"}})
	for _, text := range []string{"It cannot be used yet", "line 3", "unknown field staps", "staps: []"} {
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%d, no %q in %s", w.Code, text, w.Body)
		}
	}
	if did := f.done(); len(did) != 0 {
		t.Errorf("it did %q", did)
	}
}

// The same trouble of many machines is one line.
func TestTroubleOfMany(t *testing.T) {
	f := fullAPI(0, 3)
	var events event.Page
	for i := range 40 {
		mac := fmt.Sprintf("52:54:00:00:00:%02x", i)
		for range 2 {
			events.Events = append(events.Events, event.Event{ID: int64(len(events.Events) + 1), Time: time.Now(), MAC: mac, Kind: event.KindDHCP, Trouble: true,
				Message: "DISCOVER of " + mac + " not answered: no boot image for UEFI x64"})
		}
	}
	f.answers["/timeline"] = events
	body := get(newConsole(t, f), "/").Body.String()
	if n := strings.Count(body, "no boot image for UEFI x64"); n != 3 { // the key and the text, and what needs attention
		t.Errorf("%d lines", n)
	}
	for _, text := range []string{"80 times", "40 machines had trouble in the last minutes", "and 35 more machines", `href="/devices/52:54:00:00:00:27#timeline"`} {
		if !strings.Contains(body, text) {
			t.Errorf("no %q in\n%s", text, body)
		}
	}
}

// What a browser gets is small: everything for the first page, and one page of a list
// of 10 000 devices.
func TestWeight(t *testing.T) {
	c := newConsole(t, fullAPI(40, 10_000))
	weigh := func(path string) int {
		w := get(c, path)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		return w.Body.Len()
	}
	assets := 0
	for _, name := range []string{"console.css", "console.js", "icon.svg"} {
		assets += weigh("/login/assets/" + name)
	}
	t.Logf("style sheet, script and icon: %d bytes; login: %d; overview: %d; 100 of 10 000 devices: %d", assets, weigh("/login"), weigh("/"), weigh("/devices"))
	if assets > 60_000 {
		t.Errorf("style sheet, script and icon: %d bytes", assets)
	}
	for path, most := range map[string]int{"/login": 4000, "/": 25_000, "/devices": 120_000, "/sessions/4f1a09c2": 60_000, "/deployments/dep1": 30_000} {
		if n := weigh(path); n > most {
			t.Errorf("%s: %d bytes, want at most %d", path, n, most)
		}
	}
}

// The script is ECMAScript 5, as the documentation promises: nothing newer is written
// in it, and what old browsers may lack is asked for before it is used.
func TestScriptIsOld(t *testing.T) {
	body := get(newConsole(t, fullAPI(0, 0)), "/login/assets/console.js").Body.String()
	code := regexp.MustCompile(`(?m)//.*$|'(?:[^'\\\n]|\\.)*'|/\^[^\n]*?/\.`).ReplaceAllString(body, "")
	newer := regexp.MustCompile("=>|`|\\b(let|const|class|async|await|of)\\b|\\.\\.\\.|\\?\\.|\\?\\?|\\*\\*")
	if found := newer.FindAllString(code, -1); len(found) > 0 {
		t.Errorf("%q", found)
	}
	for _, name := range []string{"EventSource", "DOMParser", "FormData", "XMLHttpRequest"} {
		if !strings.Contains(body, "!window."+name) {
			t.Errorf("%s is used without having been asked for", name)
		}
	}
}

// What comes to its end while a page is watched is shown, and then the page is left
// as it is.
func TestLiveToTheEnd(t *testing.T) {
	f := fullAPI(3, 3)
	d := f.answers["/runs/run2"].(deployments.RunDetails)
	n := 0
	f.answers["/runs/run2"] = func() any {
		if n++; n > 1 {
			d.State, d.Questions = rollout.StateSucceeded, nil
		}
		return d
	}
	body := watch(newConsole(t, f), "/runs/run2").Body.String()
	first, rest, _ := strings.Cut(body, "\n\n")
	if !strings.Contains(first, "Which room?") || !strings.Contains(rest, "succeeded") || !strings.HasSuffix(rest, "event: over\ndata:\n\n") {
		t.Errorf("%.2000s", body)
	}
}
