package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"castpoint/test/browser"
	"castpoint/test/point"
)

// consoleURL is the console as a browser on the server opens it.
const consoleURL = "http://127.0.0.1:8069"

// page is the console in a browser on the server. What cannot be done there ends the
// test.
type page struct {
	t *testing.T
	*browser.Browser
	pictures string // what the names of its pictures begin with
}

type action = chromedp.Action[chromedp.Void]

// openPage opens the console in a browser.
func openPage(t *testing.T, p *point.Point, path, pictures string) *page {
	t.Helper()
	program, err := browser.Find()
	if err != nil {
		t.Fatal(err)
	}
	b, err := browser.Open(t.Context(), onHost(t, p.Network, p.Network.Server, program), consoleURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	v := &page{t, b, pictures}
	v.open(path)
	return v
}

func (v *page) do(what string, steps ...action) {
	v.t.Helper()
	if err := v.Do(steps...); err != nil {
		v.t.Fatalf("%s: %v; the page says:\n%s", what, err, v.Text())
	}
}

func (v *page) open(path string) {
	v.t.Helper()
	v.do("open "+path, chromedp.Navigate(consoleURL+path))
}

// login fills the login page in.
func (v *page) login(user, password string) {
	v.t.Helper()
	v.do("log in", typed("[name=user]", user), typed("[name=password]", password), click(".login button"))
}

// text waits until the page shows what the pattern matches.
func (v *page) text(pattern string) {
	v.t.Helper()
	if err := v.WaitText(patience, pattern); err != nil {
		v.t.Fatal(err)
	}
}

// shoot takes the page's pictures, and fails the test if the browser had something to
// complain about.
func (v *page) shoot(name string) {
	v.t.Helper()
	if err := v.Shoot(screens, fmt.Sprintf("%s-%s", v.pictures, name), browser.Phone, browser.Dark, browser.Desktop); err != nil {
		v.t.Fatal(err)
	}
	for _, trouble := range v.Trouble() {
		v.t.Errorf("%s: %s", name, trouble)
	}
}

func click(sel string) action { return chromedp.Click(chromedp.CSS(sel)) }

func typed(sel, value string) action { return chromedp.SendKeys(chromedp.CSS(sel), value) }
