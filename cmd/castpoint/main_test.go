package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"castpoint/agent"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/server"
	"castpoint/content"
	"castpoint/content/wim"
	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/point/settings"
	"castpoint/web/admin/sessions"
	"castpoint/web/call"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == point.CommandInspect { // the program that inspects files apart is this one
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

var update = flag.Bool("update", false, "write testdata anew")

// castpoint runs one command line in this process.
func castpoint(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// succeeds is castpoint for commands that must.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := castpoint(t, args...)
	if code != 0 {
		t.Fatalf("castpoint %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// makeWIM captures a folder with wimlib.
func makeWIM(t *testing.T, size int) string {
	t.Helper()
	tool, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("install wimtools: ", err)
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	data := bytes.Repeat([]byte("castpoint "), size/10)
	if err := errors.Join(os.Mkdir(src, 0o755), os.WriteFile(filepath.Join(src, "file"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "test.wim")
	if b, err := exec.CommandContext(t.Context(), tool, "capture", src, path, "Test Image", "--compress=none", "--check").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return path
}

// TestHelp compares the help of every command with testdata/help.golden, and
// looks that each has what it needs.
func TestHelp(t *testing.T) {
	var b strings.Builder
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || c.Runnable() && !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no short text or no example", c.CommandPath())
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		code, out, errs := castpoint(t, args...)
		if code != 0 || errs != "" {
			t.Errorf("%v: %d %s", args, code, errs)
		}
		b.WriteString("$ " + c.CommandPath() + " --help\n" + out + "\n")
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(newRoot())
	path := filepath.Join("testdata", "help.golden")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(b.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("help has changed; if that is meant, run go test ./cmd/castpoint -update\n%s", d)
	}
}

func TestExitCodes(t *testing.T) {
	data := t.TempDir()
	image := makeWIM(t, 1_000_000)
	short := filepath.Join(t.TempDir(), "short.wim")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short, b[:len(b)-1000], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"version", 0, ""},
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"content frobnicate", 2, `unknown command "frobnicate"`},
		{"content list --frob", 2, "unknown flag: --frob"},
		{"content show", 2, "accepts 1 arg"},
		{"content list extra", 2, ""},
		{"content set x", 2, "say what to change"},
		{"content add os-image", 2, "say what to add"},
		{"content add boot-image a --kernel b", 2, "either PATH or --kernel"},
		{"content add os-image a --initrd b", 2, "for boot images"},
		{"content add cheese " + image, 2, `kind "cheese"`},
		{"content add os-image /none/x.wim", 4, "/none/x.wim"},
		{"content add os-image " + short, 1, "incomplete"},
		{"content add os-image /bin/sh", 1, "not a WIM file"},
		{"content add os-image x --arch mips", 2, `arch "mips"`},
		{"content add os-image x --priority urgent", 2, "high"},
		{"content add package x --program setup.exe", 2, "NAME=COMMAND"},
		{"content add package x --program-success install=0", 2, "there is no program"},
		{"content add package x --program install=x --program-success install=zero", 2, "zero"},
		{"content add os-image " + image + " --program install=x", 2, "only a package"},
		{"content add os-image " + image + " --index 9", 2, "index 9"},
		{"content set nothing --arch mips", 2, `arch "mips"`},
		{"content show nothing", 4, `content "nothing": not found; castpoint content list`},
		{"content remove nothing", 4, "not found"},
		{"content set nothing --name x", 4, "not found"},
		{"content validate nothing", 4, "not found"},
		{"token create", 2, "--content"},
		{"token create --content nothing", 4, "not found"},
		{"token create --content nothing --ttl 1ms", 2, "ttl"},
		{"session start nothing", 1, "castpoint serve"},
		{"session cancel 12345678", 1, "castpoint serve"},
		{"session show 12345678", 4, "castpoint session list"},
		{"session start x --rate fast", 2, "900mbit"},
		{"wim info " + short, 1, "bytes"},
		{"wim info /none", 4, "/none"},
		{"wim verify " + image, 0, ""},
		{"receive", 2, "--out"},
		{"bootenv build", 2, "--out"},
		{"bootenv build --out x --kernel y", 2, "--modules"},
		{"bootenv build --out x --from mars", 2, "mars"},
		{"serve --config /none.yaml", 2, "/none.yaml"},
		{"serve --dhcp maybe", 2, `dhcp "maybe"`},
		{"serve --admin-cert cert.pem", 2, "admin-key"},
		{"serve --admin x", 2, "admin"},
		{"serve --interface none0", 2, "none0 does not exist"},
		{"serve --interface lo --join 8443", 2, "join"},
		{"serve --interface lo --assign nothing", 4, "not found"},
		{"serve --interface lo --boot-image nothing", 4, "not found"},
	} {
		code, out, errs := castpoint(t, append(strings.Fields(c.args), "--data", data)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("castpoint %s: exit code %d, %q; want %d and %q", c.args, code, errs, c.code, c.says)
		}
		if code != 0 && (!strings.HasPrefix(errs, "castpoint: ") || out != "" && !strings.Contains(c.args, "receive")) {
			t.Errorf("castpoint %s: stdout %q, stderr %q", c.args, out, errs)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(data, point.FolderLibrary, "contents")); err != nil || len(entries) != 0 {
		t.Errorf("something was left in the library: %v, %v", entries, err)
	}
}

func TestContentWithoutAServer(t *testing.T) {
	data := t.TempDir()
	image := makeWIM(t, 1_000_000)
	if out := succeeds(t, "content", "list", "--data", data); !strings.Contains(out, "empty") {
		t.Error(out)
	}
	var c content.Content
	if err := json.Unmarshal([]byte(succeeds(t, "content", "add", "os-image", image, "--multicast", "--encrypt", "--data", data, "--json")), &c); err != nil {
		t.Fatal(err)
	}
	if c.ID != "test-image" || c.Name != "Test Image" || !c.Distribution.Multicast || !c.Distribution.Encrypt {
		t.Errorf("%+v", c)
	}
	if code, _, errs := castpoint(t, "content", "add", "os-image", image, "--data", data); code != agent.ExitRefused {
		t.Errorf("the same again: %d %s", code, errs)
	}
	if out := succeeds(t, "content", "list", "--data", data); !regexp.MustCompile(`(?m)^ID +KIND .*\ntest-image +os-image +Test Image .* yes +-$`).MatchString(out) {
		t.Error(out)
	}
	succeeds(t, "content", "set", "test-image", "--comment", "for the lab", "--multicast=false", "--data", data)
	if out := succeeds(t, "content", "show", "Test Image", "--data", data); !strings.Contains(out, "for the lab") {
		t.Error(out)
	}
	if out := succeeds(t, "content", "validate", "--data", data); out != "test-image: good\n" {
		t.Error(out)
	}
	var k sessions.CreatedToken
	if err := json.Unmarshal([]byte(succeeds(t, "token", "create", "--content", "test-image", "--data", data, "--json")), &k); err != nil || len(k.Token) != 32 {
		t.Error(k, err)
	}
	var info wim.Info
	if err := json.Unmarshal([]byte(succeeds(t, "wim", "info", image, "--json")), &info); err != nil || len(info.Images) != 1 || !info.Integrity {
		t.Error(info, err)
	}
	if out := succeeds(t, "wim", "info", image); !strings.Contains(out, "Test Image") {
		t.Error(out)
	}
	succeeds(t, "content", "remove", "test-image", "--data", data)
	if out := succeeds(t, "content", "list", "--data", data, "--json"); strings.TrimSpace(out) != "[]" {
		t.Error(out)
	}
	if st, err := os.Stat(data); err != nil || !st.IsDir() {
		t.Error(err)
	}
}

func TestDataFolderIsPrivate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new")
	succeeds(t, "content", "list", "--data", data)
	if st, err := os.Stat(data); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st.Mode(), err)
	}
}

// freePort is a TCP port that nobody has at this moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lockedBuffer is written by a server and read by a test.
type lockedBuffer struct {
	ch chan []byte
	b  bytes.Buffer
}

func newLockedBuffer() *lockedBuffer { return &lockedBuffer{ch: make(chan []byte, 1024)} }

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.ch <- bytes.Clone(p)
	return len(p), nil
}

// waitFor reads until text has come.
func (l *lockedBuffer) waitFor(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for !strings.Contains(l.b.String(), text) {
		select {
		case p := <-l.ch:
			l.b.Write(p)
		case <-timeout:
			t.Fatalf("%q has not come:\n%s", text, l.b.String())
		}
	}
	return l.b.String()
}

// TestServe goes the whole way on loopback: serve, add through the server, token,
// receive, sessions, stop.
func TestServe(t *testing.T) {
	data := t.TempDir()
	image := makeWIM(t, 3_000_000)
	join := freePort(t)
	adminPort := freePort(t)
	args := []string{"serve", "--data", data, "--interface", "lo", "--dhcp", "off", "--tftp=false",
		"--http", freePort(t), "--join", join, "--admin", adminPort, "--log-level", "error"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, errs := newLockedBuffer(), newLockedBuffer()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, out, errs) }()
	text := out.waitFor(t, "Next\n")
	pin := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(text)
	if pin == "" || !strings.Contains(text, "https://"+join) {
		t.Fatal(text)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, ok, err := call.ReadFile(data); ok && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no admin file")
		}
		time.Sleep(10 * time.Millisecond)
	}

	succeeds(t, "content", "add", "os-image", image, "--multicast", "--data", data)
	var k sessions.CreatedToken
	if err := json.Unmarshal([]byte(succeeds(t, "token", "create", "--content", "test-image", "--data", data, "--json")), &k); err != nil {
		t.Fatal(err)
	}
	if k.Server != "https://"+join && !strings.HasSuffix(k.Server, join[strings.LastIndexByte(join, ':'):]) || k.Pin != pin {
		t.Errorf("%+v", k)
	}
	got := filepath.Join(t.TempDir(), "got.wim")
	lines := succeeds(t, "receive", "test-image", "--server", join, "--pin", pin, "--token", k.Token, "--out", got)
	if !strings.Contains(lines, `"event":"done"`) {
		t.Error(lines)
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, want) {
		t.Error("what was received is not what was added", err)
	}
	if out := succeeds(t, "session", "list", "--data", data); !strings.Contains(out, "test-image") {
		t.Error(out)
	}
	if out := succeeds(t, "session", "show", "test-image", "--data", data); !strings.Contains(out, "done") {
		t.Error(out)
	}
	if code, _, errs := castpoint(t, "content", "remove", "test-image", "--data", data); code != agent.ExitRefused || !strings.Contains(errs, "session cancel") {
		t.Errorf("removed while it is sent: %d %s", code, errs)
	}

	// A second server is told who is in its way, and the first one does not notice.
	code, _, second := castpoint(t, append(args, "--data", t.TempDir())...)
	for _, part := range []string{"boot HTTP on TCP port", "join HTTPS on TCP port", "admin HTTP on TCP port", "process " + strconv.Itoa(os.Getpid())} {
		if code != 1 || !strings.Contains(second, part) {
			t.Errorf("exit code %d, %q does not say %q", code, second, part)
		}
	}
	// So is one with the same data folder.
	if code, _, errs := castpoint(t, args...); code != agent.ExitRefused || !strings.Contains(errs, "library is in use by process") {
		t.Errorf("%d %s", code, errs)
	}

	began := time.Now()
	stop()
	select {
	case code := <-ended:
		if code != 0 || time.Since(began) > point.StopTime {
			t.Errorf("ended with %d after %s", code, time.Since(began))
		}
	case <-time.After(2 * point.StopTime):
		t.Fatal("it does not stop")
	}
	if _, ok, _ := call.ReadFile(data); ok {
		t.Error("the admin file is still there")
	}
	succeeds(t, "content", "remove", "test-image", "--data", data)
}

func TestServeConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("interface: eth7\nrate: 100mbit\nloaders: [/a, /b]\ndns: []\nkernel-args: [console=ttyS0]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := server.NewServe(&cli.Options{})
	c.Flags().String("data", "", "") // of the root
	if err := c.ParseFlags([]string{"--rate", "200mbit", "--loaders", "/c", "--kernel-args", "console=tty0,115200 quiet", "--data", "/d", "--max-wait", "30s"}); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Read(path, c.Flags())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Interface, want.Rate, want.Loaders, want.DNS = config.List{"eth7"}, 200e6, config.List{"/c"}, config.List{}
	want.KernelArgs, want.Data, want.MaxWait = config.List{"console=tty0,115200 quiet"}, "/d", 30*time.Second
	if d := cmp.Diff(want, s.Config()); d != "" {
		t.Error(d)
	}
}

// TestEverySettingIsAFlag keeps file and flags the same.
func TestEverySettingIsAFlag(t *testing.T) {
	root := newRoot()
	serve, _, err := root.Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		if serve.Flags().Lookup(name) == nil && root.PersistentFlags().Lookup(name) == nil {
			t.Errorf("the setting %s has no flag", name)
		}
	}
}
