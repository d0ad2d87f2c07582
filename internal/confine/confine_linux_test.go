package confine

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// What a confined process finds it can read, and neither change nor take away, on none
// of its threads.
func TestHarm(t *testing.T) {
	version, err := landlockVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version < 4 {
		t.Skipf("this kernel has version %d of Landlock, and refuses nothing by it that limits do not refuse", version)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("there"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"harm", path, l.Addr().String()}
	if version < 6 {
		args = append(args, "signal")
	}
	out, err := Run(t.Context(), small, args, nil)
	if err != nil || len(out) > 0 {
		t.Errorf("it could: %s, %v", out, err)
	}
	if err := connect(l.Addr().String()); err != nil {
		t.Error(err)
	}
}
