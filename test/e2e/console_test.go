package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"castpoint/internal/lab"
	"castpoint/test/browser"
	"castpoint/test/image"
	"castpoint/test/point"
)

// screens is where pictures of the console are kept, for people to look at.
const screens = "../../bin/test/screens"

// onHost makes a program that runs another one on a host, in its own place.
func onHost(t *testing.T, n *lab.Network, h *lab.Host, program string) string {
	t.Helper()
	path := filepath.Join(n.Dir, "on-"+h.Name)
	script := fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", h.Namespace, program)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// An evening at the console, in a browser on the server: somebody logs in, uploads
// an image, sees a machine appear and approves it, opens a session, watches it to
// its end, and reads what happened to the machine, asks the doctor, and looks at who has
// done what. What is waited for comes by itself: no page is loaded again.
func TestConsoleInBrowser(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2, Offload: true})
	serve(t, p, "--dhcp", "server", "--pool", point.Pool, "--devices-unknown", "approve")
	const password = "two in the morning"
	sh(t, p.Network.Server, fmt.Sprintf("echo %q | %s access user add anna --scope admin --data %s", password, p.Binary, p.Data))
	wim := filepath.Join(p.Network.Dir, "upload.wim")
	if err := image.Make(t.Context(), wim, "Evening", 8<<20); err != nil {
		t.Fatal(err)
	}

	program, err := browser.Find()
	if err != nil {
		t.Fatal(err)
	}
	const address = "http://127.0.0.1:8069"
	b, err := browser.Open(t.Context(), onHost(t, p.Network, p.Network.Server, program), address)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := b.Do(steps...); err != nil {
			t.Fatalf("%s: %v; the page says:\n%s", what, err, b.Text())
		}
	}
	text := func(pattern string) {
		t.Helper()
		if err := b.WaitText(patience, pattern); err != nil {
			t.Fatal(err)
		}
	}
	shoot := func(name string) {
		t.Helper()
		if err := b.Shoot(screens, "evening-"+name, browser.Phone, browser.Dark, browser.Desktop); err != nil {
			t.Fatal(err)
		}
		for _, trouble := range b.Trouble() {
			t.Errorf("%s: %s", name, trouble)
		}
	}
	click := func(sel string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(sel)) }

	// Whoever is not logged in comes to the login page, and from there to the page.
	do("open", chromedp.Navigate(address+"/contents/add?kind=os-image"))
	text("Log in")
	login := func(password string) {
		do("log in", chromedp.SendKeys(chromedp.CSS("[name=user]"), "anna"), chromedp.SendKeys(chromedp.CSS("[name=password]"), password), click(".login button"))
	}
	login("ten in the morning")
	text("The name or the password is wrong")
	shoot("login")
	login(password)
	text("Upload a file")

	do("upload", chromedp.SetUploadFiles(chromedp.CSS("[data-upload] [name=file]"), []string{wim}), chromedp.SendKeys(chromedp.CSS("[data-upload] [name=name]"), "Evening"), click("[data-upload] button:not([type])"))
	text("Uploaded upload.wim")
	text(`added as \S+`)
	shoot("contents")

	// A machine that nobody knows appears on a page that is open.
	do("devices", chromedp.Navigate(address+"/devices"))
	text("No devices here")
	a := newAsker(t, p.Network.Clients[0])
	a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", time.Second)
	text(`52:54:00:12:34:56[\s\S]*waiting`)
	shoot("waiting")
	do("open the device", click("tbody a"))
	text("waits for approval")
	do("approve", chromedp.SendKeys(chromedp.CSS("[name=name]"), "pc-17"), click(".tools button"))
	text("Approved pc-17")

	// A session that waits for two members, and gets them.
	do("sessions", chromedp.Navigate(address+"/sessions"))
	do("open a session", chromedp.SendKeys(chromedp.CSS("[name=min_members]"), "2"), chromedp.SendKeys(chromedp.CSS("[name=rate]"), "20"), click(".fields button"))
	text("waits for its members")
	text("It waits for 2 members")
	var receivers []*lab.Process
	for i, h := range p.Network.Clients {
		out := filepath.Join(p.Network.Dir, fmt.Sprintf("out%d.wim", i))
		proc := receive(t, p, h, "Evening", out, "--name", h.Name)
		defer mustReceive(t, proc, wim, out)
		receivers = append(receivers, proc)
	}
	text(`client1\s+receiving`)
	text(`rate\s+of it repair`) // the curve
	shoot("session")
	for _, proc := range receivers {
		wait(t, proc)
	}
	text(`client1\s+done[\s\S]*client2\s+done`)
	text("Everybody who is here has everything")
	do("end it", click(".tools .danger"))
	text("End the session of Evening\\?[\\s\\S]*Nobody lacks anything")
	do("be sure", click(".ask .danger"))
	text("Ended session")
	text(`Ended[\s\S]*2 done`)
	shoot("ended")

	do("timeline", chromedp.Navigate(address+"/devices/pc-17"))
	text("DISCOVER of firmware")
	page := b.Text()
	for _, says := range []string{"waits for approval", "approved", "by anna"} {
		if !strings.Contains(page, says) {
			t.Errorf("the timeline does not say %q:\n%s", says, page)
		}
	}
	// It is followed: what the machine asks now is there at once.
	if strings.Contains(page, "iPXE") && strings.Contains(page, "DISCOVER of iPXE") {
		t.Error("iPXE has not asked yet")
	}
	again := a.message(t, dhcpv4.MessageTypeDiscover, true)
	again.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
	a.ask(t, again, "255.255.255.255:67", time.Second)
	text("DISCOVER of iPXE")
	shoot("timeline")

	do("overview", chromedp.Navigate(address+"/"))
	text("Nothing needs attention|needs? attention|wrong")
	shoot("overview")

	// What the server itself has to say, and who may ask it.
	do("doctor", chromedp.Navigate(address+"/doctor"), click(".tools button"))
	text("findings? needs? attention|Nothing keeps machines from booting")
	shoot("doctor")
	do("tokens", chromedp.Navigate(address+"/access"), chromedp.SendKeys(chromedp.CSS("[action='/access/tokens'] [name=name]"), "inventory"), click("[action='/access/tokens'] button"))
	text(`The secret of inventory\s+It is shown this once[\s\S]*castpoint_`)
	do("loggers", chromedp.Navigate(address+"/server"), chromedp.SetValue(chromedp.CSS("[aria-label='Level of dhcp']"), "debug"), click("[aria-label='Set the level of dhcp']"))
	text("Logger dhcp writes debug")
	do("settings", chromedp.Navigate(address+"/settings"), click(".tools button"))
	text("Nothing has changed")
	const other = "three in the morning"
	do("account", chromedp.Navigate(address+"/account"), chromedp.SendKeys(chromedp.CSS("[name=old]"), password),
		chromedp.SendKeys(chromedp.CSS("[name=password]"), other), chromedp.SendKeys(chromedp.CSS("[name=again]"), other), click(".fields button"))
	text("Your password is another now")
	do("audit log", chromedp.Navigate(address+"/audit"))
	text(`change-own-password[\s\S]*create-access-token[\s\S]*approve-device`)
	shoot("audit")
	do("log out", click(".aside form button"))
	text("Log in")
	for _, trouble := range b.Trouble() {
		t.Errorf("at the end: %s", trouble)
	}
}
