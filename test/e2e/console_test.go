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

	// Whoever is not logged in comes to the login page, and from there to the page.
	v := openPage(t, p, "/contents/add?kind=os-image", "evening")
	v.text("Log in")
	v.login("anna", "ten in the morning")
	v.text("The name or the password is wrong")
	v.shoot("login")
	v.login("anna", password)
	v.text("Upload a file")

	v.do("upload", chromedp.SetUploadFiles(chromedp.CSS("[data-upload] [name=file]"), []string{wim}), typed("[data-upload] [name=name]", "Evening"), click("[data-upload] button:not([type])"))
	v.text("Uploaded upload.wim")
	v.text(`added as \S+`)
	v.shoot("contents")

	// A machine that nobody knows appears on a page that is open.
	v.open("/devices")
	v.text("No devices here")
	a := newAsker(t, p.Network.Clients[0])
	a.ask(t, a.message(t, dhcpv4.MessageTypeDiscover, true), "255.255.255.255:67", time.Second)
	v.text(`52:54:00:12:34:56[\s\S]*waiting`)
	v.shoot("waiting")
	v.do("open the device", click("tbody a"))
	v.text("waits for approval")
	v.do("approve", typed("[name=name]", "pc-17"), click(".tools button"))
	v.text("Approved pc-17")

	// A session that waits for two members, and gets them.
	v.open("/sessions")
	v.do("open a session", typed("[name=min_members]", "2"), typed("[name=rate]", "20"), click(".fields button"))
	v.text("waits for its members")
	v.text("It waits for 2 members")
	var receivers []*lab.Process
	for i, h := range p.Network.Clients {
		out := filepath.Join(p.Network.Dir, fmt.Sprintf("out%d.wim", i))
		proc := receive(t, p, h, "Evening", out, "--name", h.Name)
		defer mustReceive(t, proc, wim, out)
		receivers = append(receivers, proc)
	}
	v.text(`client1\s+receiving`)
	v.text(`rate\s+of it repair`) // the curve
	v.shoot("session")
	for _, proc := range receivers {
		wait(t, proc)
	}
	v.text(`client1\s+done[\s\S]*client2\s+done`)
	v.text("Everybody who is here has everything")
	v.do("end it", click(".tools .danger"))
	v.text("End the session of Evening\\?[\\s\\S]*Nobody lacks anything")
	v.do("be sure", click(".ask .danger"))
	v.text("Ended session")
	v.text(`Ended[\s\S]*2 done`)
	v.shoot("ended")

	v.open("/devices/pc-17")
	v.text("DISCOVER of firmware")
	page := v.Text()
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
	v.text("DISCOVER of iPXE")
	v.shoot("timeline")

	v.open("/")
	v.text("Nothing needs attention|needs? attention|wrong")
	v.shoot("overview")

	// What the server itself has to say, and who may ask it.
	v.do("doctor", chromedp.Navigate(consoleURL+"/doctor"), click(".tools button"))
	v.text("findings? needs? attention|Nothing keeps machines from booting")
	v.shoot("doctor")
	v.do("tokens", chromedp.Navigate(consoleURL+"/access"), typed("[action='/access/tokens'] [name=name]", "inventory"), click("[action='/access/tokens'] button"))
	v.text(`The secret of inventory\s+It is shown this once[\s\S]*castpoint_`)
	v.do("loggers", chromedp.Navigate(consoleURL+"/server"), chromedp.SetValue(chromedp.CSS("[aria-label='Level of dhcp']"), "debug"), click("[aria-label='Set the level of dhcp']"))
	v.text("Logger dhcp writes debug")
	v.do("settings", chromedp.Navigate(consoleURL+"/settings"), click(".tools button"))
	v.text("Nothing has changed")
	const other = "three in the morning"
	v.do("account", chromedp.Navigate(consoleURL+"/account"), typed("[name=old]", password),
		typed("[name=password]", other), typed("[name=again]", other), click(".fields button"))
	v.text("Your password is another now")
	v.open("/audit")
	v.text(`change-own-password[\s\S]*create-access-token[\s\S]*approve-device`)
	v.shoot("audit")
	v.do("log out", click(".aside form button"))
	v.text("Log in")
	for _, trouble := range v.Trouble() {
		t.Errorf("at the end: %s", trouble)
	}
}
