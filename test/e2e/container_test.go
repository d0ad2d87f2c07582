package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// The container is built by its definition, on a Debian out of this machine's packages in
// place of the registry's. What runs is its program, in its file system, as its user and
// with the capabilities that the definition says: where containers cannot be run, as in a
// container, the test needs no more than that.
func TestContainer(t *testing.T) {
	takesMinutes(t)
	debianPackage(t)
	dir := t.TempDir()
	podman := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "podman", append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs",
			"--cgroup-manager", "cgroupfs", "--events-backend", "file"}, args...)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("podman %s: %v: %s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	definition, err := os.ReadFile("../../packaging/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	base := regexp.MustCompile(`(?m)^FROM (\S+)$`).FindSubmatch(definition)
	if base == nil {
		t.Fatalf("the definition has no FROM:\n%s", definition)
	}
	tarred := filepath.Join(dir, "base.tar")
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", bootstrap(t), "-cf", tarred, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	podman("import", tarred, string(base[1]))
	podman("build", "--isolation", "chroot", "--pull=never", "--build-arg", "TARGETARCH="+runtime.GOARCH, "-t", "castpoint", "-f", "../../packaging/Containerfile", "../..")

	if got := podman("inspect", "--type", "image", "--format", "{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.StopSignal}}", "castpoint"); got != "castpoint [/usr/bin/castpoint] [serve] SIGTERM" {
		t.Errorf("what the image runs: %s", got)
	}
	root := podman("image", "mount", "castpoint")
	p := newPoint(t, lab.Config{Clients: 1})
	mountProc(t, root)
	wim := filepath.Join(root, "image.wim")
	if err := image.Make(t.Context(), wim, "contained", 1<<20); err != nil {
		t.Fatal(err)
	}
	// The user gets its capabilities by those of the program's file, and no others.
	as := []string{"chroot", root, "setpriv", "--reuid=castpoint", "--regid=castpoint", "--init-groups",
		"--bounding-set=-all,+net_bind_service,+net_raw", "--inh-caps=-all", "--ambient-caps=-all", "castpoint"}
	if out, code, err := p.Network.Server.Run(t.Context(), append(as, "content", "add", "os-image", "/image.wim", "--name", "image")...); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	s, err := p.Network.Server.Start(lab.Command{Args: append(as, "serve", "--interface", "eth0")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Output.WaitFor(t.Context(), `sha256:[0-9a-f]{64}`, 20*time.Second); err != nil {
		t.Fatalf("castpoint serve: %v: %s", err, s.Output.Tail(10))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`CapEff:\s0000000000002400\n`).Match(status) || !regexp.MustCompile(`CapBnd:\s0000000000002400\n`).Match(status) || regexp.MustCompile(`Uid:\s0`).Match(status) {
		t.Errorf("the rights of the container's program:\n%s", status)
	}
	sh(t, p.Network.Clients[0], "curl -fsS -o /dev/null http://"+server+":8080/undionly.kpxe")
	if code, err := s.Stop(); err != nil || code != 0 {
		t.Errorf("stopped: exit code %d, %v: %s", code, err, s.Output.Tail(5))
	}
}
