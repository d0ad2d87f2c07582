package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/internal/store"
	"castpoint/test/image"
	"castpoint/test/point"
)

var updateReleases = flag.Bool("update-releases", false, "write the backup of today's data folder into testdata/releases")

// releases is a folder with a backup of the data folder of every castpoint that was
// handed out, schema-N.tar.zst by the version of its database, and the objects of all.
const releases = "testdata/releases"

// Data that any castpoint has written is there after this one has restored it and serves
// it. A change of the data folder needs a backup of its own: go test -run
// TestEveryReleaseIsServed -update-releases writes it.
func TestEveryReleaseIsServed(t *testing.T) {
	today := filepath.Join(releases, fmt.Sprintf("schema-%d.tar.zst", store.Version()))
	if *updateReleases {
		writeRelease(t, today)
	}
	if _, err := os.Stat(today); err != nil {
		t.Fatalf("%v: there is no backup of a data folder with the schema of today", err)
	}
	found, err := filepath.Glob(filepath.Join(releases, "*.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tar.zst"), func(t *testing.T) {
			p := newPoint(t, lab.Config{})
			if _, err := p.Run(t.Context(), "restore", file, "--data", p.Data, "--config", "", "--objects", filepath.Join(releases, "objects")); err != nil {
				t.Fatal(err)
			}
			serve(t, p, "--dhcp", "server", "--pool", point.Pool)
			pin, err := os.ReadFile(strings.TrimSuffix(file, ".tar.zst") + ".pin")
			if err != nil || p.Pin != strings.TrimSpace(string(pin)) {
				t.Errorf("pin %s, it was %s, %v", p.Pin, pin, err)
			}
			// Tokens and leases have ended since.
			for _, name := range []string{"leases", "tokens.json"} {
				if st, err := os.Stat(filepath.Join(p.Data, name)); err != nil || st.Size() == 0 {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, c := range []struct {
				args, says string
			}{
				{"content validate image", ``},
				{"content list", `image`},
				{"device list", `pc-1`},
				{"device show pc-1", `52:54:00:12:34:56`},
				{"device show pc-1", `room 7`},
				{"device timeline pc-1", `record`},
				{"sequence list", `install-windows-from-linux`},
				{"collection show lab", `AdminPassword`},
				{"deployment show lab", `pc-1`},
				{"access user list", `anna`},
				{"access token list", `ci`},
				{"audit", `anna`},
			} {
				out, err := p.Run(t.Context(), append(strings.Fields(c.args), "--data", p.Data)...)
				if err != nil || !regexp.MustCompile(c.says).MatchString(out) {
					t.Errorf("castpoint %s does not say %s, %v:\n%s", c.args, c.says, err, out)
				}
			}
		})
	}
}

// writeRelease makes a data folder with something of everything in it, and its backup.
func writeRelease(t *testing.T, to string) {
	p := newPoint(t, lab.Config{Clients: 1})
	wim := filepath.Join(p.Network.Dir, "image.wim")
	if err := image.Make(t.Context(), wim, "image", 1<<10); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "server", "--pool", point.Pool)
	udhcpc(t, p.Network.Clients[0], "eth0")
	sequence := filepath.Join(p.Network.Dir, "install.yaml")
	for _, script := range []string{
		"content add os-image " + wim + " --name image --multicast --encrypt",
		"device add --name pc-1 --mac 52:54:00:12:34:56 --group lab --notes 'room 7'",
		"sequence template install-windows-from-linux > " + sequence,
		"sequence add " + sequence,
		"collection add lab --rule group=lab --variable Role=lab",
		"collection secret lab AdminPassword <<<'correct horse'",
		"deployment add lab --sequence install-windows-from-linux --collection lab",
		"access user add anna --scope admin <<<'correct horse battery staple'",
		"access token create ci --scope read",
		"token create --content image --ttl 2160h",
	} {
		if out, code, err := p.Network.Server.Run(t.Context(), "bash", "-c", p.Binary+" --data "+p.Data+" "+script); err != nil || code != 0 {
			t.Fatalf("castpoint %s: exit code %d, %v: %s", script, code, err, out)
		}
	}
	if err := os.MkdirAll(releases, 0o755); err != nil {
		t.Fatal(err)
	}
	// A backup names its host.
	abs, err := filepath.Abs(to)
	if err != nil {
		t.Fatal(err)
	}
	sh(t, p.Network.Server, "unshare --uts sh -ec 'hostname castpoint; "+p.Binary+" backup "+abs+" --data "+p.Data+" --config \"\"'; cp -r "+p.Data+"/library/objects "+filepath.Dir(abs)+"/; chmod -R u+w,a+r "+filepath.Dir(abs))
	if err := os.WriteFile(strings.TrimSuffix(to, ".tar.zst")+".pin", []byte(p.Pin+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
