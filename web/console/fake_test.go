package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"castpoint/agent/protocol"
	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/wim"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/revision"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/docs"
	"castpoint/doctor"
	"castpoint/internal/event"
	"castpoint/multicast/sender"
	"castpoint/web/access"
	"castpoint/web/admin"
	"castpoint/web/admin/accounts"
	"castpoint/web/admin/deployments"
	"castpoint/web/api"
	"castpoint/web/session"
)

// fakeAPI answers with what it was given, and remembers what it was asked to do.
type fakeAPI struct {
	mu      sync.Mutex
	answers map[string]any // by path without query; a func() any is called
	did     []string       // method, path and body
	took    []byte         // of an upload
	listed  []session.Info
	refuse  error // of everything that changes something
	steps   func(ctx context.Context, progress func(done, total int64)) (any, error)
}

func (f *fakeAPI) Call(_ context.Context, method, path string, body, answer any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, query, _ := strings.Cut(path, "?")
	if method != http.MethodGet && path != "/explain" && path != "/doctor" {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		f.did = append(f.did, method+" "+path+" "+string(text))
		if f.refuse != nil {
			return f.refuse
		}
	}
	v, ok := f.answers[path]
	if !ok {
		if method != http.MethodGet {
			return nil
		}
		return &protocol.Problem{Status: http.StatusNotFound, Title: "Not Found", Detail: "no " + path}
	}
	if make, ok := v.(func() any); ok {
		v = make()
	}
	if p, ok := v.(deploy.Page); ok && strings.Contains(query, "limit=5") {
		p.Devices = p.Devices[:min(5, len(p.Devices))]
		v = p
	}
	text, err := json.Marshal(v)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

func (f *fakeAPI) Stream(ctx context.Context, method, path string, body any, progress func(done, total int64), answer any) error {
	if err := f.Call(ctx, method, path, body, nil); err != nil {
		return err
	}
	return f.work(ctx, progress, answer)
}

func (f *fakeAPI) work(ctx context.Context, progress func(done, total int64), answer any) error {
	if f.steps == nil {
		return nil
	}
	v, err := f.steps(ctx, progress)
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

func (f *fakeAPI) Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error {
	f.mu.Lock()
	refuse := f.refuse
	f.did = append(f.did, "UPLOAD "+query.Encode())
	f.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.took = b
	f.mu.Unlock()
	return f.work(ctx, func(int64, int64) {}, answer)
}

func (f *fakeAPI) Send(_ context.Context, path, contentType string, body io.Reader, answer any) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if path != "/sequences/check" {
		f.did = append(f.did, "SEND "+path+" "+contentType+" "+string(b))
		if f.refuse != nil {
			return f.refuse
		}
	}
	v, ok := f.answers["SEND "+path]
	if !ok {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

func (f *fakeAPI) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.did...)
}

// hostile is text that a page must show as text.
const hostile = `<script>alert("x")</script>&'"`

// long is a name that no line of a telephone has room for.
var long = strings.Repeat("workstation-", 5) + "01"

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// fullAPI has something of everything.
func fullAPI(members, devices int) *fakeAPI {
	began := noon
	s := session.Info{Content: "win11", Name: "Windows 11", Interface: "eth1", Status: sender.Status{
		ID: "4f1a09c2", State: "sending", Group: "239.192.67.1:7800", Objects: 1, Size: 5_200_000_000, Blocks: 28853,
		Rate: 412e6, Target: 430e6, Sent: 2_900_000_000, Repair: 41_000_000, Created: noon, Began: &began, Members: []sender.MemberStatus{},
	}}
	s.Injectors = []session.Injector{{Address: netip.MustParseAddr("192.0.2.66"), Since: noon, Reports: 2, Members: []string{"pc-002", hostile}}}
	states := []sender.MemberState{sender.MemberReceiving, sender.MemberReceiving, sender.MemberReceiving, sender.MemberSilent, sender.MemberDone, sender.MemberMoved, sender.MemberReceiving, sender.MemberFailed}
	for i := range members {
		m := sender.MemberStatus{ID: uint32(i + 1), Name: fmt.Sprintf("pc-%03d", i+1), State: states[i%len(states)], Complete: 28853 * (40 + i%30) / 100, Loss: float64(i%7) / 1000, Seconds: 63}
		switch m.State {
		case sender.MemberDone:
			m.Complete = s.Blocks
		case sender.MemberFailed:
			m.Reason = "disk: no space left " + hostile
		}
		s.Members = append(s.Members, m)
	}
	waiting := s
	waiting.ID, waiting.State, waiting.Began, waiting.Rate, waiting.Sent, waiting.Repair, waiting.WaitFor, waiting.StartsIn = "77aa0001", "waiting", nil, 0, 0, 0, 20, 42
	waiting.Members = s.Members[:min(3, members)]
	ended := s
	ended.ID, ended.State, ended.Ended = "0badcafe", "ended", &began
	image := &content.Content{
		ID: "win11", Kind: content.KindOSImage, Name: "Windows 11", Version: "10.0.26100", Comment: hostile, Source: "/srv/images/install.wim", Arch: "amd64", Language: "en-US", Index: 1,
		Images: []wim.Image{{Index: 1, Name: "Windows 11 Pro", Edition: "Professional", Version: "10.0.26100.1742", Files: 120000, TotalBytes: 17e9}, {Index: 2, Name: "Windows 11 Education", Edition: "Education"}},
		Files:  []content.File{{Role: content.RoleImage, Name: "install.wim", Size: 5_200_000_000}}, Distribution: content.Distribution{Multicast: true, Encrypt: true},
		Created: noon, Updated: noon, Revision: 2, Checked: &content.Checked{Time: noon},
	}
	pe := &content.Content{
		ID: "winpe", Kind: content.KindBootImage, Name: "Windows PE", Version: "10.0.26100", Arch: "amd64", Files: []content.File{{Role: content.RoleImage, Name: "boot.wim", Size: 430_000_000}},
		Created: noon, Updated: noon, Revision: 1, Checked: &content.Checked{Time: noon, Problem: "boot.wim: 3 damaged blocks"},
	}
	linux := &content.Content{
		ID: "bootenv", Kind: content.KindBootImage, Name: "boot-" + long, Version: "6.1.0", Arch: "amd64",
		Files: []content.File{{Role: content.RoleKernel, Name: "vmlinuz", Size: 8e6}, {Role: content.RoleInitrd, Name: "initrd", Size: 22e6}}, Created: noon, Updated: noon, Revision: 1,
	}
	report := &winpe.Report{Index: 1, Arch: "amd64", Version: "10.0.26100.1", Boots: []winpe.Boots{{Firmware: "UEFI, Secure Boot off", Yes: true}, {Firmware: "UEFI, Secure Boot with Microsoft's CA of 2023", Why: "no boot manager is signed under the CA of 2023"}},
		Files:   []winpe.ReportFile{{Name: "bootmgfw.efi", Size: 2_700_000, Signers: []winpe.Signer{{Subject: "Microsoft Windows", CA: "Microsoft Windows Production PCA 2011", Year: 2011, NotAfter: noon.AddDate(0, -1, 0)}}}, {Name: "boot.sdi", Size: 3_170_304}},
		Missing: []winpe.Missing{{Name: "bootmgfw_EX.efi", Without: "machines that trust the CA of 2023 only do not boot"}}}
	f := &fakeAPI{answers: map[string]any{}}
	page := func(items ...any) any { return map[string]any{"items": items, "total": len(items)} }
	f.answers["/sessions"] = page(s, waiting, ended)
	f.answers["/sessions/4f1a09c2"], f.answers["/sessions/77aa0001"], f.answers["/sessions/0badcafe"] = s, waiting, ended
	f.answers["/contents"] = page(image, pe, linux)
	f.answers["/contents/win11"], f.answers["/contents/winpe"], f.answers["/contents/bootenv"] = image, pe, linux
	f.answers["/boot-images/winpe/report"] = report
	delay := 2
	list := deploy.Page{Devices: []deploy.Device{}, Total: devices}
	for i := range min(devices, 100) {
		d := deploy.Device{ID: fmt.Sprintf("d%05d", i), Name: fmt.Sprintf("pc-%05d", i), MACs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", i/256, i%256)}, UUID: "4c4c4544-0042-3510-8052-b3c04f4b4e32",
			State: deploy.States()[i%4], Notes: hostile, Groups: []string{"room-101"}, Variables: map[string]string{"owner": hostile}, Boot: deploy.BootSettings{Image: "winpe", Settings: []string{"chain=windows"}, Delay: &delay},
			Seen: deploy.Sight{Firmware: "UEFI x64 (7)", MAC: "52:54:00:00:00:01", Interface: "eth1", Remote: "192.0.2.17"}, Created: noon, FirstSeen: noon, LastSeen: time.Now().Add(-3 * time.Minute)}
		if i == 0 {
			d.Name = long
		}
		list.Devices = append(list.Devices, d)
		f.answers["/devices/"+d.ID] = d
		f.answers["/devices/"+d.ID+"/timeline"] = timelineOf(d.MACs[0])
		f.answers["/devices/"+d.ID+"/secrets"] = deployments.Names{Items: []string{"AdminPassword"}}
		f.answers["/devices/"+d.ID+"/runs"] = page()
	}
	if devices > 100 {
		list.Next = "1pc-00099 d00099"
	}
	f.answers["/devices"] = list
	f.answers["/devices/52:54:00:aa:aa:aa/timeline"] = event.Page{}
	f.answers["/timeline"] = timelineOf("52:54:00:00:00:01")
	f.answers["/explain"] = map[string]any{
		"client": "52:54:00:00:00:01, UEFI x64 (7)", "interface": "eth1", "server": "192.0.2.1", "dhcp": "proxy", "answered": true, "file": "snponly.efi", "next_server": "192.0.2.1", "quirk": "ordinary", "style": "redirect",
		"reason": "It is on record, and UEFI x64 boots iPXE.", "chain": "ipxe", "image": "winpe", "image_name": "Windows PE", "assigned": "win11", "target": "/dev/sda", "device": "d00001", "bcd": "Boot/BCD-1", "menu": true, "evidence": "option 60", "lately": []map[string]any{{"time": noon, "asked": "DISCOVER", "reason": hostile}, {"time": noon, "asked": "REQUEST", "answer": "ACK", "file": "snponly.efi"}}, "script": "#!ipxe\necho " + hostile,
		"rules": []map[string]string{{"name": "lists", "says": "on none of the lists"}, {"name": "record", "says": hostile}},
	}
	f.addDeployments()
	f.addServer()
	f.answers["/settings"] = map[string]any{"file": "/etc/castpoint/castpoint.yaml", "settings": []map[string]any{
		{"name": "interface", "value": []string{"eth1", "eth2"}, "from": "file", "line": 3, "means": "networks to serve", "restart": true},
		{"name": "rate", "value": []string{"400mbit"}, "from": "flag", "means": "of a session"}, {"name": "tftp", "value": []string{"true"}, "from": "default", "means": hostile},
	}}
	f.answers["/status"] = admin.Status{
		Version: "1.0", Started: noon, Data: "/var/lib/castpoint", Join: "https://192.0.2.1:8443", Pin: "sha256:" + strings.Repeat("0a", 32), Assigned: "win11", Contents: 3, Damaged: []string{"winpe"}, Problems: []string{"object aa: unreadable"},
		Sessions: 2, Devices: map[deploy.State]int{deploy.StateKnown: devices, deploy.StateWaiting: 3}, EventsLost: 12,
		Network: &admin.Network{Interfaces: []string{"eth1 192.0.2.1"}, DHCP: "proxy", Requests: 1200, Answered: 800, Dropped: 2, Ports: []admin.Port{{Proto: "udp", Port: 67, What: "DHCP"}, {Proto: "udp", Port: 7800, Last: 7899, What: "reports"}},
			Others: []admin.OtherServer{{Interface: "eth1", Address: "192.0.2.254", What: "DHCP server", Trouble: "more than one DHCP server gives addresses here"}}},
	}
	return f
}

// addDeployments adds a deployment with a device in each state.
func (f *fakeAPI) addDeployments() {
	d := rollout.Deployment{ID: "dep1", Name: "Windows 11 for room 101", Notes: hostile, Sequence: "bare-metal", Collection: "col1", Purpose: rollout.Required, Rerun: rollout.RerunFailed, MaxSize: rollout.DefaultMaxSize, Created: noon, Changed: noon}
	counts := monitor.Counts{Targets: 40, Protected: 1, Untold: 2, Waiting: 3, Running: 20, Asking: 1, Succeeded: 15, Failed: 1, Unknown: 1, Percent: 63, SuccessRate: 94, FailedBy: []monitor.StepCount{{Number: 4, Name: "Apply the image", Count: 1}}, At: []monitor.StepCount{{Number: 5, Name: "Drivers", Count: 20}}}
	code := 5
	step := rollout.StepRecord{Path: "3", Number: 4, Name: "Apply the image", Kind: "apply", State: "failed", ExitCode: &code, Message: "disk: no space left " + hostile, Advice: "make the partition larger", Output: hostile, Started: noon, Ended: noon.Add(time.Minute)}
	run := rollout.Run{ID: "run1", Deployment: "dep1", Device: "d00001", Label: "pc-00001", Sequence: "bare-metal", Revision: 3, State: rollout.StateFailed, Started: noon, Heard: noon, Step: step, Total: 12, Message: step.Message, Advice: step.Advice, Environment: "winpe", Remote: "192.0.2.17", Variables: map[string]string{"ComputerName": hostile}}
	run.Step.Output = "" // it is kept with the step
	asks := run
	asks.ID, asks.State, asks.Late, asks.Label = "run2", rollout.StateAsking, true, long
	asks.Questions = &protocol.Questions{Run: "run2", Questions: []sequence.Question{{Variable: "Room", Prompt: "Which room?", Choices: []string{"101", "102"}}, {Variable: "Pin", Prompt: "PIN", Secret: true}}}
	status := deployments.DeploymentStatus{Deployment: d, Counts: counts, Targets: []monitor.Target{
		{Device: "d00001", Label: "pc-00001", State: "failed", Percent: 33, Run: &run}, {Device: "d00002", Label: long, State: "asking", Percent: 40, Run: &asks}, {Device: "d00003", Label: "pc-00003", State: "waiting", Again: true},
		{Device: "d00004", Label: "pc-00004", State: "waiting", Refused: &rollout.Refusal{Time: time.Now(), Text: "sequence bare-metal needs values for Key"}},
	}}
	page := func(items ...any) any { return map[string]any{"items": items, "total": len(items)} }
	f.answers["/deployments"] = page(deployments.DeploymentItem{Deployment: d, CollectionName: "Room 101", Counts: counts})
	f.answers["/deployments/dep1"] = status
	f.answers["/devices/d00001/runs"] = page(asks, run)
	f.answers["/runs/run1"] = deployments.RunDetails{Run: run, DeploymentName: d.Name, Steps: []rollout.StepRecord{step}}
	f.answers["/runs/run2"] = deployments.RunDetails{Run: asks, DeploymentName: d.Name}
	collection := collection.Collection{ID: "col1", Name: "Room 101", Devices: []string{"d00001"}, Rules: []collection.MemberRule{{Group: "room-101", When: []string{`device.memory > 4`}}}, Variables: map[string]string{"Locale": hostile}, Secrets: []string{"AdminPassword"}}
	f.answers["/collections"], f.answers["/collections/col1"] = page(collection), collection
	f.answers["/collections/col1/members"] = deployments.Members{Page: api.Page[deploy.Device]{Items: []deploy.Device{{ID: "d00001", Name: "pc-00001", State: deploy.StateKnown, MACs: []string{"52:54:00:00:00:01"}}}, Total: 1}, Untold: 2}
	info := revision.SequenceInfo{Name: "bare-metal", Revision: 3, Description: hostile, Steps: 12, Changed: noon, By: "anna", Deployments: []string{d.Name}}
	f.answers["/sequences"], f.answers["/sequences/bare-metal"] = page(info), revision.SequenceText{SequenceInfo: info, Text: "name: bare-metal " + hostile, Leaves: []revision.LeafInfo{{Path: "0", Number: 1, Name: "Partition", Kind: "partition", Groups: []string{"Disk"}}}, Revisions: []int{2, 3}}
	f.answers["/sequence-templates"] = []deployments.Template{{Name: "windows", Description: "Windows on an empty disk", Text: "name: windows\n"}}
	f.answers["SEND /sequences/check"] = deployments.SequenceCheck{Usable: true, Name: "windows", Steps: 3, Problems: []sequence.Problem{{Line: 7, Text: "content is not here " + hostile, Warning: true}}}
	f.answers["SEND /sequences"] = revision.SequenceText{SequenceInfo: info}
	f.answers["SEND /devices/import"] = deploy.Imported{Added: 2, Changed: 1}
}

// addServer adds what is said of the server itself.
func (f *fakeAPI) addServer() {
	page := func(items ...any) any { return map[string]any{"items": items, "total": len(items)} }
	f.answers["/log"] = page(map[string]any{"name": "all", "level": "info", "own": true}, map[string]any{"name": "dhcp", "level": "debug", "own": true})
	f.answers["/dhcp/leases"] = page(map[string]any{"address": "192.0.2.101", "mac": "52:54:00:00:00:01", "hostname": hostile, "expires": noon}, map[string]any{"address": "192.0.2.102", "expires": noon, "declined": true})
	f.answers["/access/users"] = page(access.User{Name: "anna", Scope: access.Admin, Created: noon, LastLogin: noon}, access.User{Name: "rita", Scope: access.Read, Created: noon})
	f.answers["/access/tokens"] = page(access.Token{ID: "0a1b2c3d", Name: "ci", Scope: access.Operate, By: "anna", Created: noon, Expires: noon})
	f.answers["/access/lockouts"] = page(access.Lockout{Who: "user " + hostile, Failures: 7, Until: time.Now().Add(time.Minute)}, access.Lockout{Who: "address 192.0.2.7", Failures: 2})
	f.answers["/access/self"] = access.Identity{Name: "anna", Scope: access.Admin, How: access.HowPassword}
	f.answers["/audit"] = accounts.AuditPage{Entries: []access.Entry{
		{ID: 9, Time: noon, Who: "anna", How: "password", Remote: "192.0.2.7", Action: "approve-device", Target: "/devices/d00001", Detail: hostile, Status: 200},
		{ID: 8, Time: noon, Who: "ci", How: "token", Action: "remove-content", Target: "/contents/win11", Status: 403, Error: "remove-content needs the scope admin, and ci has operate"},
	}, Before: 8}
	f.answers["/doctor"] = map[string]any{"items": []doctor.Finding{
		{Check: "firewall", Level: doctor.Attention, Text: "nftables drops UDP port 67 " + hostile, Do: "nft insert rule inet filter input udp dport 67 accept"},
		{Check: "clock", Level: doctor.Note, Text: "the clock is not synchronised", Do: "timedatectl set-ntp true"}, {Check: "disk", Level: doctor.OK, Text: "120 GB are free"},
	}}
}

func timelineOf(mac string) event.Page {
	p := event.Page{Before: 1000}
	for i, e := range []event.Event{
		{Kind: event.KindDHCP, Message: "DISCOVER of firmware, OFFER: it boots iPXE", Details: event.Details{Asked: "DISCOVER", Answer: "OFFER", File: "snponly.efi"}},
		{Kind: event.KindTFTP, Message: "fetched snponly.efi", Details: event.Details{File: "snponly.efi", Bytes: 280_000, Rate: 44e6}},
		{Kind: event.KindDHCP, Trouble: true, Message: "DISCOVER of iPXE not answered: device pc-1 is denied " + hostile},
		{Kind: event.KindJoin, Message: "joined the session of win11 as member 3 (pc-1)"},
		{Kind: event.KindProgress, Message: "progress (14000 of 28853 blocks)", Details: event.Details{Blocks: 14000, Total: 28853, Rate: 400e6}},
		{Kind: event.KindRecord, Message: "pc-1: approved", Details: event.Details{By: "anna"}},
		{Kind: event.KindError, Trouble: true, Message: "failed: disk /dev/sda: no space left"},
	} {
		e.ID, e.MAC, e.Time = int64(1001+i), mac, time.Now().Add(time.Duration(i-60)*7*time.Second)
		p.Events = append(p.Events, e)
	}
	return p
}

// newConsole makes a console of an API, for somebody who may do everything.
func newConsole(t testing.TB, f *fakeAPI) *Console {
	t.Helper()
	c, err := New(Config{
		API: f, Docs: docs.Pages, Log: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)), Version: "1.0", Sessions: func() []session.Info { return f.listed },
		Person: func(*http.Request) (Person, bool) {
			return Person{Name: "anna", Operate: true, Admin: true, Password: true, CSRF: "c5rf"}, true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
