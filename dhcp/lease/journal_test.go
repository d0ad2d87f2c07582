package lease

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/test/clock"
)

func openJournal(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func leaseOf(n int) Lease {
	return Lease{
		Address: netip.AddrFrom4([4]byte{10, 77, byte(n >> 8), byte(n)}), Key: fmt.Sprintf("mac:52:54:00:00:00:%02x", n),
		MAC: fmt.Sprintf("52:54:00:00:00:%02x", n), Hostname: `a "quoted" näme`, Expires: time.Date(2030, 1, 1, 0, 0, n, 0, time.UTC),
	}
}

func loaded(t *testing.T, j *Journal) map[netip.Addr]Lease {
	t.Helper()
	all, err := j.Load()
	if err != nil {
		t.Fatal(err)
	}
	m := map[netip.Addr]Lease{}
	for _, l := range all {
		m[l.Address] = l
	}
	return m
}

func TestJournalKeepsLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	j := openJournal(t, path)
	for n := 1; n <= 5; n++ {
		if err := j.Put(leaseOf(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Delete(leaseOf(2).Address); err != nil {
		t.Fatal(err)
	}
	if err := j.Delete(leaseOf(200).Address); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Put(leaseOf(1)); err == nil {
		t.Error("a closed journal takes leases")
	}
	again := openJournal(t, path)
	if _, err := OpenJournal(path); err == nil || !strings.Contains(err.Error(), "another castpoint") {
		t.Errorf("opened twice: %v", err)
	}
	got := loaded(t, again)
	if len(got) != 4 || again.Damaged != 0 {
		t.Fatalf("%d leases, %d damaged lines", len(got), again.Damaged)
	}
	if want := leaseOf(3); got[want.Address] != want {
		t.Errorf("got %+v, want %+v", got[want.Address], want)
	}
}

// A crash may cut the last line at any byte; a disk may garble one. The others
// are read.
func TestJournalSurvivesDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
	j := openJournal(t, path)
	for n := 1; n <= 3; n++ {
		if err := j.Put(leaseOf(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndex(strings.TrimSuffix(string(whole), "\n"), "\n") + 1
	for cut := last; cut < len(whole); cut += 7 {
		torn := filepath.Join(dir, fmt.Sprintf("torn-%d", cut))
		if err := os.WriteFile(torn, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j := openJournal(t, torn)
		if got := loaded(t, j); len(got) != 2 || (j.Damaged == 0) != (cut == last) {
			t.Errorf("cut at %d: %d leases, %d damaged", cut, len(got), j.Damaged)
		}
		// What is written behind the torn line is read next time.
		if err := j.Put(leaseOf(9)); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, openJournal(t, torn)); len(got) != 3 {
			t.Errorf("cut at %d: %d leases after the next start", cut, len(got))
		}
	}
	garbled := []byte(string(whole))
	garbled[strings.Index(string(whole), "52:54:00:00:00:02")] ^= 1
	if err := os.WriteFile(path, garbled, 0o600); err != nil {
		t.Fatal(err)
	}
	if j := openJournal(t, path); len(loaded(t, j)) != 2 || j.Damaged != 1 {
		t.Errorf("garbled line: %d leases, %d damaged", len(loaded(t, j)), j.Damaged)
	}
}

func TestJournalLeavesOtherFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "important")
	if err := os.WriteFile(path, []byte("castpoint leases 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "castpoint leases 2\n" {
		t.Errorf("file now holds %q", b)
	}
}

func TestJournalCompacts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
	j := openJournal(t, path)
	l := leaseOf(1)
	for n := range 3 * compactAt {
		l.Expires = l.Expires.Add(time.Duration(n) * time.Second)
		if err := j.Put(l); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2*compactAt*200 {
		t.Errorf("%d bytes for one lease", info.Size())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, openJournal(t, path)); !got[l.Address].Expires.Equal(l.Expires) {
		t.Errorf("lease %+v, want %+v", got[l.Address], l)
	}
	if rest, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(rest) > 0 {
		t.Errorf("left behind: %s", rest)
	}
}

// The test binary runs itself as a server that is killed while it gives leases:
// each lease it said it had stored is there afterwards.
func TestJournalSurvivesKill(t *testing.T) {
	const variable = "CASTPOINT_TEST_JOURNAL"
	if path := os.Getenv(variable); path != "" {
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; ; n++ {
			if err := j.Put(leaseOf(n % 250)); err != nil {
				t.Fatal(err)
			}
			fmt.Println("stored", n)
		}
	}
	path := filepath.Join(t.TempDir(), "leases")
	child := exec.Command(os.Args[0], "-test.run=^TestJournalSurvivesKill$")
	child.Env = append(os.Environ(), variable+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := 0
	for said < 100 {
		if _, err := fmt.Fscanf(out, "stored %d\n", &said); err != nil {
			t.Fatalf("after %d leases: %v", said, err)
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	j := openJournal(t, path)
	got := loaded(t, j)
	for n := 1; n <= said; n++ {
		if l := leaseOf(n); got[l.Address] != l {
			t.Fatalf("lease %d was stored and is %+v", n, got[l.Address])
		}
	}
	if j.Damaged > 1 {
		t.Errorf("%d damaged lines, a kill leaves one at most", j.Damaged)
	}
}

// A lease that was given while the clock was wrong lasts as long as was said, also for the
// next process, whose clock may be right.
func TestJournalWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{0, -26 * 365 * 24 * time.Hour, 400 * 24 * time.Hour} {
		path := filepath.Join(t.TempDir(), "leases")
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		a := netip.MustParseAddr("192.0.2.10")
		until := clock.Set(time.Now(), by).Add(time.Minute)
		if err := j.Put(Lease{Address: a, Key: "mac:x", Expires: until}); err != nil {
			t.Fatal(err)
		}
		for start := range 3 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if j, err = OpenJournal(path); err != nil {
				t.Fatal(err)
			}
			list, err := j.Load()
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if off := list[0].Expires.Sub(until); off.Abs() > time.Second {
				t.Errorf("given with the clock ahead by %s: start %d has it end %s later", by, start+1, off)
			}
			if left := time.Until(list[0].Expires.Round(0)); left < 50*time.Second || left > time.Minute+time.Second {
				t.Errorf("given with the clock ahead by %s: start %d shows that it ends in %s", by, start+1, left)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
