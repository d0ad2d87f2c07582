package point

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/deploy/collection"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/internal/event"
	"castpoint/multicast"
	"castpoint/point/explain"
	"castpoint/test/image"
	"castpoint/test/openapi"
	"castpoint/web/access"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/deployments"
	"castpoint/web/admin/devices"
	"castpoint/web/admin/sessions"
	"castpoint/web/api"
)

const (
	apiMAC      = "52:54:00:12:34:56"
	apiSequence = `name: install
description: Writes the image and asks who gets the machine.
variables:
  Owner: {}
  Password: {secret: true}
steps:
  - apply-data-image: {content: image, target: /mnt}
  - run-command: {command: "echo done"}
`
)

// TestAPI calls every operation through a listener. Each answer and each refusal is
// held against the OpenAPI document; each status that the document names is provoked;
// nothing else comes back.
func TestAPI(t *testing.T) {
	p := newAPIPoint(t, t.TempDir(), "notify-webhook: [\"http://127.0.0.1:9/hook\"]\ndhcp: server\npool: 127.0.0.100-127.0.0.110\nupload-max: 2\nupload-size: 2MiB\nupload-stall: 1s\n")
	c := newContract(t, p)
	c.accessCalls(t)
	c.contentCalls(t)
	c.deviceCalls(t)
	c.rolloutCalls(t)
	c.sessionCalls(t)
	c.serverCalls(t)
	c.noRoomCalls(t)
	c.refusals(t)
	c.audited(t)
	for id, o := range c.all {
		var missing []string
		for status := range o.Responses {
			if n, err := strconv.Atoi(status); err == nil && !c.seen[id][n] {
				missing = append(missing, status)
			}
		}
		if slices.Sort(missing); len(missing) > 0 {
			t.Errorf("%s: the document names %s, and no call here has had it", id, strings.Join(missing, ", "))
		}
	}
	if *update && !t.Failed() {
		c.keepExamples(t)
	}
}

// keepExamples writes the examples that are missing, and those whose operation takes
// or gives something else now.
func (c *contract) keepExamples(t *testing.T) {
	t.Helper()
	n := *api.BuiltIn()
	kept := maps.Clone(n.Examples)
	n.Examples = map[string]api.Example{}
	for id, e := range c.examples {
		if old, ok := kept[id]; ok && sameShape(old, e) {
			e = old
		}
		n.Examples[id] = e
	}
	text, err := n.Marshal()
	if err == nil {
		err = os.WriteFile(fileAnnotations, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sameShape says whether two examples differ in values only: a run of the test has
// other ids and times than the one before.
func sameShape(a, b api.Example) bool {
	return a.Type == b.Type && shapeOf(a.Request) == shapeOf(b.Request) && shapeOf(a.Response) == shapeOf(b.Response)
}

func shapeOf(text json.RawMessage) string {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return ""
	}
	var names func(v any) []string
	names = func(v any) (list []string) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				list = append(append(list, k), names(v[k])...)
			}
		case []any:
			if len(v) > 0 {
				return names(v[0])
			}
		}
		return list
	}
	return strings.Join(names(v), " ")
}

func (c *contract) accessCalls(t *testing.T) {
	c.call(t, "get-self", "/access/self", nil, 200)
	made := accounts.CreateAccessToken{Name: "inventory", Scope: access.Read, TTL: 90 * 24 * 3600}
	id := field(t, c.call(t, "create-access-token", "/access/tokens", made, 201), "id")
	c.call(t, "create-access-token", "/access/tokens", made, 409)
	c.call(t, "create-access-token", "/access/tokens", accounts.CreateAccessToken{Name: " x", Scope: access.Read}, 400)
	c.call(t, "list-access-tokens", "/access/tokens?limit=2", nil, 200)
	c.call(t, "revoke-access-token", "/access/tokens/"+id, nil, 200)
	ann := accounts.AddUser{Name: "ann", Password: "correct horse battery", Scope: access.Operate}
	c.call(t, "add-user", "/access/users", ann, 201)
	c.call(t, "add-user", "/access/users", ann, 409)
	c.call(t, "add-user", "/access/users", accounts.AddUser{Name: "bob", Password: "short", Scope: access.Read}, 400)
	c.call(t, "list-users", "/access/users", nil, 200)
	c.call(t, "set-user", "/access/users/ann", accounts.SetUser{Scope: access.Admin}, 200)
	c.call(t, "set-user", "/access/users/ann", accounts.SetUser{Password: "short"}, 400)
	c.call(t, "remove-user", "/access/users/ann", nil, 200)
	change := accounts.ChangeOwnPassword{Old: ann.Password, New: "another horse battery"}
	c.call(t, "change-own-password", "/access/self/password", change, 400)
	c.call(t, "add-user", "/access/users", ann, 201)
	s, err := c.kept.access.Login(t.Context(), ann.Name, ann.Password, netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	c.callBy(t, s, "change-own-password", "/access/self/password", change, 204)
	for range 5 { // what it was before
		c.callBy(t, s, "change-own-password", "/access/self/password", change, 403)
	}
	c.callBy(t, s, "change-own-password", "/access/self/password", change, 429)
	c.call(t, "list-lockouts", "/access/lockouts", nil, 200)
	c.call(t, "lift-lockout", "/access/lockouts/user%20ann", nil, 204)
	c.call(t, "lift-lockout", "/access/lockouts/nobody", nil, 404)
	c.call(t, "list-audit", "/audit?limit=2", nil, 200)
}

// folder makes a folder with a file in it.
func folder(t *testing.T, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "setup.exe"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (c *contract) contentCalls(t *testing.T) {
	free := content.Distribution{Multicast: true}
	dir := folder(t, strings.Repeat("castpoint ", 1000))
	image := contents.AddContent{Kind: content.KindPackage, Path: dir, Name: "image", Version: "1.0", Distribution: free, Programs: []content.Program{{Name: "install", Command: "setup.exe /S"}}}
	c.call(t, "add-content", "/contents", image, 200)
	c.call(t, "add-content", "/contents", image, 409)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: content.KindPackage, Path: "/nothing/there"}, 404)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: content.KindPackage, Path: "not absolute"}, 400)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: "cheese", Path: dir}, 400)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: content.KindOSImage, Path: filepath.Join(dir, "setup.exe")}, 422)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer broken.Close()
	gone := contents.AddContent{Kind: content.KindOSImage, Path: broken.URL + "/x.wim", Name: "x"}
	c.call(t, "add-content", "/contents", gone, 502)
	c.call(t, "list-contents", "/contents?limit=2", nil, 200)
	c.call(t, "get-content", "/contents/image", nil, 200)
	c.call(t, "set-content", "/contents/image", contents.SetContent{Comment: ptr("for the lab")}, 200)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: content.KindPackage, Path: dir, Name: "other"}, 200)
	c.call(t, "set-content", "/contents/other", contents.SetContent{Name: ptr("image"), Version: ptr("1.0")}, 409)
	c.call(t, "set-content", "/contents/other", contents.SetContent{RemovePrograms: []string{"none"}}, 404)
	c.call(t, "validate-content", "/contents/image/validate", nil, 200)
	c.call(t, "repair-content", "/contents/image/repair", contents.RepairContent{}, 200)
	c.call(t, "repair-content", "/contents/image/repair", contents.RepairContent{Path: dir, From: "https://127.0.0.1:1"}, 400)
	c.damage(t, "other")
	c.call(t, "repair-content", "/contents/other/repair", contents.RepairContent{Path: folder(t, "another")}, 409)
	pin := c.server.Identity().Pin.String()
	c.call(t, "repair-content", "/contents/other/repair", contents.RepairContent{From: "https://127.0.0.1:1", Pin: pin, Token: "x"}, 502)
	image.Path = folder(t, strings.Repeat("castpoint 2 ", 1000))
	image.Version = "2.0"
	c.call(t, "update-content", "/contents/image/update", image, 200)
	c.call(t, "update-content", "/contents/image/update", gone, 502)
	c.call(t, "update-content", "/contents/other/update", image, 409)

	wim := makeWIM(t, 100_000)
	c.call(t, "add-content", "/contents", contents.AddContent{Kind: content.KindBootImage, Path: makeWinPE(t), Name: "winpe"}, 200)
	c.call(t, "get-boot-report", "/boot-images/winpe/report", nil, 200)
	c.call(t, "get-boot-report", "/boot-images/image/report", nil, 422)
	c.call(t, "attach-content", "/contents/winpe/attach", contents.Attachments{Files: map[string]string{`\tools\setup.exe`: filepath.Join(dir, "setup.exe")}}, 200)
	c.call(t, "attach-content", "/contents/winpe/attach", contents.Attachments{Files: map[string]string{`\tools\setup.exe`: "relative"}}, 400)

	export := unframe(t, c.call(t, "export-content", "/contents/image/export", nil, 200))
	file := filepath.Join(t.TempDir(), "image.castpoint")
	if err := os.WriteFile(file, export, 0o600); err != nil {
		t.Fatal(err)
	}
	c.call(t, "import-content", "/contents/import", contents.ImportContent{Path: file}, 409)
	c.call(t, "receive-content", "/contents/receive", export, 409)
	c.call(t, "remove-content", "/contents/image", nil, 204)
	c.call(t, "import-content", "/contents/import", contents.ImportContent{Path: file}, 200)
	c.call(t, "import-content", "/contents/import", contents.ImportContent{Path: "/nothing/there"}, 404)
	c.call(t, "import-content", "/contents/import", contents.ImportContent{Path: "relative"}, 400)
	c.call(t, "import-content", "/contents/import", contents.ImportContent{Path: wim}, 422)
	c.call(t, "remove-content", "/contents/image", nil, 204)
	c.call(t, "receive-content", "/contents/receive", export, 201)
	c.call(t, "receive-content", "/contents/receive", "no export", 422)
	c.call(t, "collect-garbage", "/garbage", nil, 200)

	bytesOf, err := os.ReadFile(wim)
	if err != nil {
		t.Fatal(err)
	}
	upload := "/contents/upload?file=win11.wim&kind=os-image&name=win11&multicast=true"
	c.call(t, "upload-content", upload, bytesOf, 201)
	c.call(t, "upload-content", upload, bytesOf, 409)
	c.call(t, "upload-content", "/contents/upload?file=sub%2Fwin11.wim&kind=os-image", bytesOf, 400)
	c.call(t, "upload-content", "/contents/upload?file=no.wim&kind=os-image", "no image", 422)
	c.call(t, "upload-content", "/contents/upload?file=x.wim&kind=os-image&update=nothing-there", bytesOf, 404)
	c.uploadsAtOnce(t)
}

// makeWinPE makes a WIM that has what a Windows boot image is known by.
func makeWinPE(t *testing.T) string {
	t.Helper()
	program := make([]byte, 64+24+240)
	copy(program, "MZ")
	program[60] = 64
	copy(program[64:], "PE\x00\x00\x64\x86")
	program[64+20], program[64+24], program[64+25], program[64+24+108] = 240, 0x0b, 0x02, 16
	tree := t.TempDir()
	for _, name := range []string{"Windows/System32/Boot/winload.efi", "Windows/System32/Boot/winload.exe", "Windows/Boot/EFI/bootmgfw.efi", "Windows/Boot/DVD/EFI/boot.sdi", "Windows/Boot/PXE/bootmgr.exe"} {
		path := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, program, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "boot.wim")
	if b, err := exec.CommandContext(t.Context(), "wimlib-imagex", "capture", tree, out, "WinPE", "--boot", "--no-acls").CombinedOutput(); err != nil {
		t.Fatalf("wimlib-imagex (package wimtools): %v: %s", err, b)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// damage changes a byte of a content in the library.
func (c *contract) damage(t *testing.T, id string) {
	t.Helper()
	ct, err := c.library.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	object, err := c.library.OpenObject(ct.Files[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	path := object.Name()
	_ = object.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0}, 10); err != nil {
		t.Fatal(err)
	}
}

// unframe takes an export out of its frames.
func unframe(t *testing.T, b []byte) (out []byte) {
	t.Helper()
	for {
		n := binary.BigEndian.Uint32(b)
		if n == 0 {
			return out
		}
		out, b = append(out, b[4:4+n]...), b[4+n:]
	}
}

// uploadsAtOnce: one more than the setting upload-max is refused, one that stands still
// is given up, and so is one that is longer than it has said or than the setting
// upload-size.
func (c *contract) uploadsAtOnce(t *testing.T) {
	o := c.all["upload-content"]
	const path = "/contents/upload?file=slow.wim&kind=os-image"
	type held struct {
		w    *io.PipeWriter
		done chan *http.Response
	}
	begin := func(id, path string) held {
		r, w := io.Pipe()
		h := held{w, make(chan *http.Response, 1)}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+api.Prefix+path, r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Authorization", "Bearer "+c.adminToken)
		go func() {
			res, err := c.client.Do(req)
			if err != nil {
				res = nil
			}
			h.done <- res
		}()
		if _, err := w.Write([]byte("MSWIM")); err != nil {
			t.Fatal(err)
		}
		return h
	}
	first, second := begin(o.ID, path), begin(o.ID, path)
	eventually(t, "two uploads", func() bool { return len(c.server.Uploads()) == 2 })
	c.call(t, "upload-content", path, "x", 429)
	c.call(t, "receive-content", "/contents/receive", "x", 429)
	// One that stands still is given up, and its place is free again.
	for _, h := range []held{first, second} {
		res := <-h.done
		if res == nil || res.StatusCode != http.StatusRequestTimeout {
			t.Errorf("an upload that stands still: %v", res)
		} else {
			_ = res.Body.Close()
			c.seen[o.ID][res.StatusCode] = true
		}
		_ = h.w.Close()
	}
	held3 := begin("receive-content", "/contents/receive")
	if res := <-held3.done; res == nil || res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("an import that stands still: %v", res)
	} else {
		_ = res.Body.Close()
		c.seen["receive-content"][res.StatusCode] = true
	}
	_ = held3.w.Close()
	if left, _ := filepath.Glob(filepath.Join(c.data, "downloads", "upload-*")); len(left) > 0 || len(c.server.Uploads()) > 0 {
		t.Errorf("left of them: %v, %v", left, c.server.Uploads())
	}
	c.call(t, "upload-content", path, bytes.Repeat([]byte("x"), 3<<20), 413)
	c.call(t, "receive-content", "/contents/receive", bytes.Repeat([]byte("x"), 3<<20), 413)
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

func (c *contract) deviceCalls(t *testing.T) {
	add := devices.AddDevice{Name: "pc-1", MACs: []string{apiMAC}, UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32", Groups: []string{"lab"}, Notes: "window", Variables: map[string]string{"Owner": "ann"}}
	id := field(t, c.call(t, "add-device", "/devices", add, 201), "id")
	c.call(t, "add-device", "/devices", add, 409)
	c.call(t, "add-device", "/devices", devices.AddDevice{}, 400)
	c.kept.timeline.Record(event.Event{Kind: event.KindDHCP, MAC: apiMAC, Message: "OFFER 127.0.0.100", Details: event.Details{Interface: "lo", Asked: "DISCOVER", Answer: "OFFER", Address: "127.0.0.100"}})
	c.kept.devices.See(boot.Client{MAC: parseMAC(t), Arch: boot.ArchEFIX64, HasArch: true, Interface: "lo"})
	if _, err := c.kept.devices.TakeInventory(id, sequence.Facts{
		Manufacturer: "QEMU", Model: "Standard PC", Architecture: "amd64", Firmware: "uefi", Memory: 4 << 30,
		Disks: []sequence.DiskFacts{{Path: "/dev/vda", Size: 64 << 30, Model: "virtio"}}, NICs: []sequence.NICFacts{{Name: "eth0", MAC: apiMAC, Link: true, Speed: 1000}},
	}); err != nil {
		t.Fatal(err)
	}
	c.call(t, "get-device", "/devices/pc-1", nil, 200)
	c.call(t, "list-devices", "/devices?limit=2", nil, 200)
	c.call(t, "import-devices", "/devices/import", "name,mac,groups\npc-2,52:54:00:12:34:57,lab\npc-3,52:54:00:12:34:58,lab\n", 200)
	c.call(t, "import-devices", "/devices/import", "name,colour\npc-4,red\n", 400)
	c.call(t, "import-devices", "/devices/import", "name,mac\npc-4,52:54:00:12:34:59\npc-5,52:54:00:12:34:59\n", 409)
	c.call(t, "set-device", "/devices/pc-2", devices.SetDevice{Notes: ptr("at the door"), Delay: ptr(2)}, 200)
	c.call(t, "set-device", "/devices/pc-2", devices.SetDevice{AddMACs: []string{apiMAC}}, 409)
	c.call(t, "set-device", "/devices/pc-2", devices.SetDevice{DropMACs: []string{"52:54:00:99:99:99"}}, 400)
	c.call(t, "set-device", "/devices/pc-", devices.SetDevice{}, 400) // more than one
	c.call(t, "deny-device", "/devices/pc-3/deny", nil, 200)
	c.call(t, "approve-device", "/devices/pc-3/approve", devices.ApproveDevice{Name: "pc-30"}, 200)
	c.call(t, "approve-device", "/devices/pc-30/approve", nil, 200)
	c.call(t, "approve-device", "/devices/pc-30/approve", devices.ApproveDevice{Name: "pc-1"}, 409)
	c.call(t, "add-device", "/devices", devices.AddDevice{Name: "server", MACs: []string{"52:54:00:12:34:60"}, Protected: true}, 201)
	c.call(t, "remove-device", "/devices/server", nil, 409)
	c.call(t, "set-device", "/devices/server", devices.SetDevice{Protected: ptr(false)}, 200)
	c.call(t, "remove-device", "/devices/server", nil, 204)
	c.kept.wake = func([]string, net.HardwareAddr) error { return nil } // loopback has no broadcast
	c.call(t, "wake-device", "/devices/pc-1/wake", nil, 200)
	c.call(t, "add-device", "/devices", devices.AddDevice{Name: "by-uuid", UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e33"}, 201)
	c.call(t, "wake-device", "/devices/by-uuid/wake", nil, 409)
	c.call(t, "set-device-secret", "/devices/pc-1/secrets/Password", map[string]string{"value": "hunter2"}, 204)
	c.call(t, "list-device-secrets", "/devices/pc-1/secrets", nil, 200)
	c.call(t, "show-recovery", "/devices/pc-1/recovery", nil, 200)
	c.call(t, "get-device-timeline", "/devices/pc-1/timeline?limit=2", nil, 200)
	c.call(t, "get-device-timeline", "/devices/"+apiMAC+"/timeline?kind=dhcp", nil, 200)
	c.call(t, "get-timeline", "/timeline?limit=2", nil, 200)
	c.call(t, "follow-events", "/events?last=1", nil, 200)
	c.call(t, "follow-device", "/devices/pc-1/events?last=1", nil, 200)
}

func parseMAC(t *testing.T) net.HardwareAddr {
	t.Helper()
	mac, err := net.ParseMAC(apiMAC)
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

func (c *contract) rolloutCalls(t *testing.T) {
	c.call(t, "get-sequence-schema", "/sequence-schema", nil, 200)
	c.call(t, "list-templates", "/sequence-templates", nil, 200)
	c.call(t, "check-sequence", "/sequences/check", apiSequence, 200)
	c.call(t, "check-sequence", "/sequences/check", "steps: [", 200)
	c.call(t, "put-sequence", "/sequences", apiSequence, 200)
	c.call(t, "put-sequence", "/sequences", "name: x\nsteps: [{frobnicate: {}}]\n", 400)
	c.call(t, "list-sequences", "/sequences", nil, 200)
	c.call(t, "get-sequence", "/sequences/install", nil, 200)
	c.call(t, "get-sequence", "/sequences/install?revision=9", nil, 404)

	lab := deployments.AddCollection{Name: "lab", Devices: []string{"pc-1"}, Rules: []collection.MemberRule{{Group: "lab"}}, Variables: map[string]string{"Owner": "the lab"}}
	c.call(t, "add-collection", "/collections", lab, 201)
	c.call(t, "add-collection", "/collections", lab, 409)
	c.call(t, "add-collection", "/collections", deployments.AddCollection{Name: "nobody", Devices: []string{"nothing-there"}}, 400)
	c.call(t, "add-collection", "/collections", deployments.AddCollection{Name: "empty"}, 201)
	c.call(t, "list-collections", "/collections?limit=2", nil, 200)
	c.call(t, "get-collection", "/collections/lab", nil, 200)
	c.call(t, "list-members", "/collections/lab/members?limit=2", nil, 200)
	c.call(t, "set-collection", "/collections/lab", deployments.SetCollection{Notes: ptr("second floor")}, 200)
	c.call(t, "set-collection", "/collections/empty", deployments.SetCollection{Name: ptr("lab")}, 409)
	c.call(t, "set-collection-secret", "/collections/lab/secrets/Password", map[string]string{"value": "hunter2"}, 204)

	required := rollout.Required
	deployment := deployments.AddDeployment{Name: "image the lab", Sequence: "install", Collection: "lab", SetDeployment: deployments.SetDeployment{Purpose: &required, MaxSize: ptr(1)}}
	c.call(t, "add-deployment", "/deployments", deployment, 409) // more devices than max_size
	deployment.MaxSize = ptr(10)
	c.call(t, "add-deployment", "/deployments", deployment, 201)
	c.call(t, "add-deployment", "/deployments", deployments.AddDeployment{Name: "x", Sequence: "nothing-there", Collection: "lab"}, 404)
	c.call(t, "list-deployments", "/deployments?limit=2", nil, 200)
	c.call(t, "set-deployment", "/deployments/image the lab", nil, 400)
	c.call(t, "set-deployment", "/deployments/image%20the%20lab", deployments.SetDeployment{Rename: ptr("lab"), AlertBelow: ptr(90), AlertAfter: ptr(5)}, 200)
	c.call(t, "set-deployment", "/deployments/lab", deployments.SetDeployment{MaxSize: ptr(1)}, 409)
	c.call(t, "remove-collection", "/collections/lab", nil, 409)
	c.call(t, "remove-sequence", "/sequences/install", nil, 409)

	run := c.beginRun(t)
	c.call(t, "get-run", "/runs/"+run.ID, nil, 200)
	c.call(t, "list-device-runs", "/devices/pc-1/runs", nil, 200)
	c.call(t, "get-run-log", "/runs/"+run.ID+"/logs/sequence.log", nil, 200)
	c.call(t, "get-run-log", "/runs/"+run.ID+"/logs/.hidden", nil, 400)
	c.call(t, "retry-run", "/runs/"+run.ID+"/retry", nil, 409)
	c.call(t, "answer-run", "/runs/"+run.ID+"/answers", deployments.AnswerRun{Answers: map[string]string{"Owner": "ann"}}, 409)
	if err := c.kept.rollout.Ask(t.Context(), run.ID, protocol.Questions{Run: run.ID, Path: "2", Questions: []sequence.Question{{Variable: "Owner", Prompt: "Who gets it?"}}}); err != nil {
		t.Fatal(err)
	}
	c.call(t, "answer-run", "/runs/"+run.ID+"/answers", deployments.AnswerRun{Answers: map[string]string{"Owner": "ann"}}, 204)
	c.call(t, "remove-deployment", "/deployments/lab", nil, 409)
	c.call(t, "get-deployment", "/deployments/lab", nil, 200)
	c.call(t, "get-deployment-report", "/deployments/lab/report", nil, 200)
	c.call(t, "cancel-run", "/runs/"+run.ID+"/cancel", nil, 200)
	c.join(t, http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunCancelled}, nil)
	c.call(t, "cancel-run", "/runs/"+run.ID+"/cancel", nil, 409)
	c.call(t, "retry-run", "/runs/"+run.ID+"/retry", deployments.RetryRun{Step: "2", Variables: map[string]string{"Owner": "bob"}}, 200)
	c.join(t, http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunFailed, Message: "no power"}, nil)
	c.call(t, "deploy-again", "/deployments/lab/again", deployments.DeployAgain{Devices: []string{"pc-1"}}, 200)
	c.call(t, "deploy-again", "/deployments/lab/again", deployments.DeployAgain{Devices: []string{"by-uuid"}}, 400)
	c.call(t, "set-device", "/devices/pc-2", devices.SetDevice{Protected: ptr(true)}, 200)
	c.call(t, "deploy-again", "/deployments/lab/again", deployments.DeployAgain{Devices: []string{"pc-2"}}, 409)
	c.call(t, "remove-deployment", "/deployments/lab", nil, 204)
	c.call(t, "remove-sequence", "/sequences/install", nil, 204)
	c.call(t, "remove-collection", "/collections/empty", nil, 204)
}

// join sends a request to the join listener's handler, as a machine does.
func (c *contract) join(t *testing.T, method, path, secret string, v, answer any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body(t, v)))
	r.TLS = &tls.ConnectionState{}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:8443"))))
	r.Header.Set(protocol.HeaderMAC, apiMAC)
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	c.server.JoinServer().Handler.ServeHTTP(w, r)
	if w.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if answer != nil {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			t.Fatal(err)
		}
	}
}

// beginRun has pc-1 begin the deployment that is there, and do its first step.
func (c *contract) beginRun(t *testing.T) (run protocol.Run) {
	t.Helper()
	ticket, err := c.server.BootToken(t.Context(), boot.Client{MAC: parseMAC(t), Arch: boot.ArchEFIX64, HasArch: true, PXE: true, Server: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	c.join(t, http.MethodPost, protocol.PathRun, ticket.Token, protocol.RunRequest{Nonce: "n", Environment: sequence.EnvironmentLinux}, &run)
	c.join(t, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: "1", State: protocol.StepStarted}, nil)
	c.join(t, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{Run: run.ID, Path: "1", State: protocol.StepDone, Output: "written"}, nil)
	c.join(t, http.MethodPut, protocol.PathLog+"sequence.log", run.Ticket, "step 1 done\n", nil)
	return run
}

func (c *contract) sessionCalls(t *testing.T) {
	c.call(t, "create-token", "/tokens", sessions.CreateToken{Content: "nothing-there"}, 404)
	c.call(t, "create-token", "/tokens", sessions.CreateToken{Content: "image", MAC: "x"}, 400)
	token := field(t, c.call(t, "create-token", "/tokens", sessions.CreateToken{Content: "image", Name: "pc-1", TTL: 3600}, 201), "token")
	start := sessions.StartSession{Content: "image", MinMembers: 5, Open: 600}
	c.call(t, "start-session", "/sessions", sessions.StartSession{Content: "nothing-there"}, 404)
	c.call(t, "start-session", "/sessions", sessions.StartSession{Content: "image", MinMembers: -1}, 400)
	c.call(t, "start-session", "/sessions", sessions.StartSession{Content: "other"}, 403)
	id := field(t, c.call(t, "start-session", "/sessions", start, 200), "id")
	c.call(t, "start-session", "/sessions", start, 409)
	c.call(t, "remove-content", "/contents/image", nil, 409)
	var adm multicast.Admission
	c.join(t, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: token, Name: "pc-1"}, &adm)
	c.call(t, "get-session", "/sessions/"+id, nil, 200)
	c.call(t, "list-sessions", "/sessions", nil, 200)
	c.call(t, "follow-session", "/sessions/"+id+"/events", nil, 200)
	c.call(t, "kick-member", "/sessions/"+id+"/members/pc-1", nil, 204)
	c.call(t, "cancel-session", "/sessions/"+id, nil, 204)
}

func (c *contract) serverCalls(t *testing.T) {
	c.call(t, "get-openapi", "/openapi.json", nil, 200)
	c.call(t, "get-status", "/status", nil, 200)
	c.call(t, "run-doctor", "/doctor", nil, 200)
	c.call(t, "list-settings", "/settings", nil, 200)
	c.call(t, "list-loggers", "/log", nil, 200)
	c.call(t, "set-log-level", "/log/dhcp", map[string]string{"level": "debug"}, 200)
	c.call(t, "set-log-level", "/log/all", map[string]string{"level": "default"}, 400)
	c.call(t, "test-channels", "/notify/test", nil, 200)
	c.call(t, "list-channels", "/notify", nil, 200)
	c.call(t, "explain", "/explain", explain.Question{MAC: apiMAC, Arch: 7}, 200)
	c.call(t, "explain", "/explain", explain.Question{MAC: apiMAC, Arch: 7, Interface: "eth9"}, 400)
	c.call(t, "get-dhcp-settings", "/dhcp/settings?product=dnsmasq", nil, 200)
	c.call(t, "get-dhcp-settings", "/dhcp/settings?product=x", nil, 400)
	c.call(t, "list-leases", "/dhcp/leases", nil, 200)
	c.call(t, "reload", "/reload", nil, 200)
}

// noRoomCalls: what needs space is refused when there is less than the reserve.
func (c *contract) noRoomCalls(t *testing.T) {
	dir, data := folder(t, "castpoint"), t.TempDir()
	library, err := library.OpenOptions(filepath.Join(data, FolderLibrary), library.Options{Reserve: -1})
	if err == nil {
		_, err = library.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: "small"})
		err = errors.Join(err, library.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	full := *c
	full.apiPoint = newAPIPoint(t, data, "disk-reserve: 1000TiB\n")
	add := contents.AddContent{Kind: content.KindPackage, Path: dir, Name: "image"}
	full.call(t, "add-content", "/contents", add, 507)
	full.call(t, "update-content", "/contents/small/update", contents.AddContent{Kind: content.KindPackage, Path: folder(t, "larger than castpoint")}, 507)
	full.call(t, "upload-content", "/contents/upload?file=x.wim&kind=os-image", "x", 507)
	full.call(t, "list-leases", "/dhcp/leases", nil, 409)
	export := unframe(t, c.call(t, "export-content", "/contents/image/export", nil, 200))
	full.call(t, "receive-content", "/contents/receive", export, 507)
	file := filepath.Join(t.TempDir(), "image.castpoint")
	if err := os.WriteFile(file, export, 0o600); err != nil {
		t.Fatal(err)
	}
	full.call(t, "import-content", "/contents/import", contents.ImportContent{Path: file}, 507)
}

// refusals provokes, for every operation, the refusals that follow from its request:
// of nobody, of a page of another origin, under another name, with a parameter that
// does not exist, about things that do not exist, and with bodies that cannot be.
func (c *contract) refusals(t *testing.T) {
	for id, o := range c.all {
		good, ok := c.good[id]
		if !ok {
			t.Errorf("no call here has had what %s does", id)
			continue
		}
		if id == "upload-content" {
			// A refused body is not read to its end: its sender may meet a closed
			// connection before it sees the answer.
			good.body = []byte("x")
		}
		want := func(r request, secret string, status int) {
			t.Helper()
			if got, answer := c.answerTo(t, o, r, secret); got != status {
				t.Errorf("%s %s: %d, want %d: %.300s", id, r.path, got, status, answer)
			}
		}
		query := "?"
		if strings.Contains(good.path, "?") {
			query = "&"
		}
		other := good
		want(other, "", 401)
		other.header = []string{"Origin", "https://elsewhere.example"}
		want(other, c.adminToken, 403)
		other = good
		other.host = "castpoint.elsewhere.example"
		want(other, c.adminToken, 421)
		other = good
		other.path += query + "frobnicate=1"
		want(other, c.adminToken, 422)
		if strings.Contains(o.Path, "{") {
			other = good
			other.path = c.elsewhere(o, good.path)
			want(other, c.adminToken, 404)
		}
		kind := o.Takes()
		if kind == "" || kind == "application/octet-stream" {
			continue
		}
		other = good
		other.kind = kind
		if kind == "application/json" {
			other.body = []byte("{")
			want(other, c.adminToken, 400)
			other.body, other.kind = good.body, "text/plain"
			if len(good.body) == 0 {
				other.body = []byte("{}")
			}
			want(other, c.adminToken, 415)
			other.kind = kind
			other.body = []byte(`{"` + strings.Repeat("x", 1<<20) + `": 1}`)
			want(other, c.adminToken, 413)
			other.body = []byte(`{"frobnicate": 1}`)
			want(other, c.adminToken, 422)
			continue
		}
		other.body = nil
		want(other, c.adminToken, 400)
		// No more than a server still reads that has refused it: net/http's limit is 256 KiB.
		longest := map[string]int{"put-sequence": sequence.MaxFile, "check-sequence": sequence.MaxFile, "import-devices": 32 << 20}[id]
		other.body = bytes.Repeat([]byte("x"), longest+1)
		want(other, c.adminToken, 413)
	}
}

// audited: every call that has changed something is an entry of the audit log, with who,
// how, from where, what and how it ended, and no call that has only asked is.
func (c *contract) audited(t *testing.T) {
	var page accounts.AuditPage
	text := c.call(t, "list-audit", "/audit?limit=10000", nil, 200)
	if err := json.Unmarshal(text, &page); err != nil {
		t.Fatal(err)
	}
	done, refused := map[string]bool{}, map[string]bool{}
	for _, e := range page.Entries {
		who, how := "root", access.HowToken
		if e.Who == "ann" && e.Action == "change-own-password" { // the only one that a person does here
			who, how = "ann", access.HowPassword
		}
		if e.Who != who || e.How != how || e.Remote != "127.0.0.1" || e.Time.IsZero() || e.Status == 0 {
			t.Errorf("an entry lacks something: %+v", e)
		}
		o := c.all[e.Action]
		if o == nil || !o.Has(e.Target) || !o.Audited {
			t.Errorf("an entry of %s about %s", e.Action, e.Target)
		}
		if e.Status < 300 {
			done[e.Action] = true
			if e.Error != "" {
				t.Errorf("it was done, and failed: %+v", e)
			}
		} else if refused[e.Action] = true; e.Error == "" {
			t.Errorf("it was refused, and does not say why: %+v", e)
		}
	}
	for id, o := range c.all {
		if o.Audited != (o.Method != http.MethodGet && !slices.Contains([]string{"explain", "check-sequence", "run-doctor"}, id)) {
			t.Errorf("%s: audited is %v", id, o.Audited)
		}
		if o.Audited && (!done[id] || !refused[id]) {
			t.Errorf("%s is not in the audit log: done %v, refused %v", id, done[id], refused[id])
		}
	}
	for _, secret := range []string{"hunter2", "correct horse", c.adminToken} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the audit log has the secret %q", secret)
		}
	}
}

// elsewhere is the path of an operation for something that does not exist.
func (c *contract) elsewhere(o *openapi.Operation, path string) string {
	plain, query, has := strings.Cut(path, "?")
	parts, pattern := strings.Split(plain, "/"), strings.Split(o.Path, "/")
	for i := range pattern {
		if strings.HasPrefix(pattern[i], "{") {
			parts[i] = "nothing-there"
			break
		}
	}
	if plain = strings.Join(parts, "/"); has {
		plain += "?" + query
	}
	return plain
}

// makeWIM captures a folder with wimlib.
func makeWIM(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.wim")
	if err := image.Make(t.Context(), path, "Test Image", size); err != nil {
		t.Fatal(err)
	}
	return path
}
