package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// addTree adds a package of n small files and some that are large, empty or twice
// there, and returns the digest of each.
func addTree(t *testing.T, p *point.Point, n int) (map[string][32]byte, point.Content) {
	t.Helper()
	dir := filepath.Join(p.Network.Dir, "tree")
	write := func(name string, size int) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeRandom(t, path, size)
	}
	for i := range n {
		write(fmt.Sprintf("files/%02d/%04d.bin", i%50, i), 10_000)
	}
	write("large.cab", 5<<20)
	write("empty", 0)
	if err := os.Link(filepath.Join(dir, "large.cab"), filepath.Join(dir, "again.cab")); err != nil {
		t.Fatal(err)
	}
	c, err := p.Add(t.Context(), "package", dir, "--name", "tree", "--multicast")
	if err != nil {
		t.Fatal(err)
	}
	return digests(t, dir), c
}

// digests are those of all files in a folder, by their paths.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// One session carries an image and then a folder of two thousand files, sealed with
// ChaCha20-Poly1305, over links that lose. One member wants the image, one the
// folder; one that wants the folder is killed and goes on; one takes it by unicast.
func TestSessionOfAnImageAndAFolder(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 4, Loss: 0.01})
	wim, image := addWIM(t, p, 32<<20)
	want, tree := addTree(t, p, 2000)
	serve(t, p, "--rate", "100mbit", "--session-cipher", "chacha")
	if _, err := p.Run(t.Context(), "session", "start", image.ID, tree.ID, "--min-clients", "3", "--data", p.Data); err != nil {
		t.Fatal(err)
	}
	h := p.Network.Clients
	out := func(name string) string { return filepath.Join(p.Network.Dir, name) }
	secret := token(t, p, tree.ID)
	killed, err := p.Receive(h[2], nil, tree.ID, secret, out("killed"), "--name", "killed")
	if err != nil {
		t.Fatal(err)
	}
	one := receive(t, p, h[0], image.ID, out("image.wim"), "--name", "image", "--no-unicast")
	begun := time.Now()
	two := receive(t, p, h[1], tree.ID, out("folder"), "--name", "folder", "--no-unicast", "--verify-sha256")
	eventually(t, "a part of the folder has arrived", func() bool {
		found, _ := filepath.Glob(out("killed.part/files/*/*"))
		return len(found) > 500
	})
	killed.Kill()
	again, err := p.Receive(h[2], nil, tree.ID, secret, out("killed"), "--name", "killed")
	if err != nil {
		t.Fatal(err)
	}
	mustReceive(t, one, wim, out("image.wim"))
	for name, proc := range map[string]*lab.Process{"folder": two, "killed": again} {
		if code := wait(t, proc); code != 0 {
			t.Fatalf("%s ended with exit code %d:\n%s", name, code, proc.Output.Tail(20))
		}
		if got := digests(t, out(name)); !maps.Equal(got, want) {
			t.Errorf("%s has %d files, want %d, or other bytes", name, len(got), len(want))
		}
	}
	t.Logf("%d files of 10 kB and 32 MiB of image at 100 Mbit/s in %v", len(want), time.Since(begun).Round(100*time.Millisecond))
	if all := sessions(t, p); len(all) != 1 {
		t.Errorf("%d sessions, want one for all: %+v", len(all), all)
	}

	blocked := receive(t, p, h[3], tree.ID, out("unicast"), "--name", "unicast", "--interface", "lo", "--silence", "500ms")
	if code := wait(t, blocked); code != 0 {
		t.Fatalf("by unicast: exit code %d:\n%s", code, blocked.Output.Tail(20))
	}
	if got := digests(t, out("unicast")); !maps.Equal(got, want) {
		t.Errorf("by unicast there are %d files, want %d, or other bytes", len(got), len(want))
	}
	left, err := filepath.Glob(out("*.part*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
