package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a ?#%") // a path that a URL would read otherwise
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := openTest(t, dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	s := openTest(t, dir)
	if _, err := s.write.ExecContext(t.Context(), "INSERT INTO schema_version(version, what) VALUES (99, 'later')"); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := Open(t.Context(), dir); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "99") {
		t.Errorf("newer database: %v", err)
	}
}

func TestOpenRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{".", "data"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		openTest(t, dir)
	}
}

func TestDamage(t *testing.T) {
	for name, content := range map[string]string{"text": strings.Repeat("no database ", 1000), "short": "SQLite"} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), dir)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// environment of the test's own process that stops between two migrations.
const killEnv = "CASTPOINT_STORE_KILL"

// TestKilledBetweenMigrations: a process that dies in the middle leaves a version
// that is whole, and the next one goes on from there.
func TestKilledBetweenMigrations(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		all := migrations()
		// The second step gets halfway and then waits to be killed.
		all[1].steps = append([]string{all[1].steps[0]}, "SELECT castpoint_test_wait()")
		registerWait(t, func() { fmt.Println("halfway"); select {} })
		_, err := open(context.Background(), filepath.Join(dir, FileName), all)
		t.Fatal(err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestKilledBetweenMigrations$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := out.Read(b); err != nil || string(b) != "halfway" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s := openTest(t, dir)
	var versions []int
	rows, err := s.read.QueryContext(t.Context(), "SELECT version FROM schema_version ORDER BY version")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v int
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	if len(versions) != Version() {
		t.Errorf("versions %v", versions)
	}
	if err := s.AddEvents(t.Context(), []Event{{Kind: "x"}}); err != nil {
		t.Error(err)
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	now := time.UnixMilli(1_790_000_000_123).UTC()
	a := Device{
		ID: "a", Name: "pc-1", UUID: "u1", MACs: []string{"m2", "m1"}, State: "known", Protected: true, Notes: "n",
		Variables: map[string]string{"k": "v"}, Groups: []string{"g"}, Settings: []byte("{}"), Seen: []byte("{}"), Created: now, LastSeen: now,
	}
	b := Device{ID: "b", MACs: []string{"m3"}, Settings: []byte("{}"), Seen: []byte("{}"), Created: now}
	if err := s.PutDevices(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]Device{
		"name": {ID: "c", Name: "PC-1"}, "UUID": {ID: "c", UUID: "u1"}, "MAC": {ID: "c", MACs: []string{"m3"}},
	} {
		if err := s.PutDevices(t.Context(), Device{ID: "fresh"}, d); !errors.Is(err, ErrExists) {
			t.Errorf("%s twice: %v", name, err)
		}
	}
	// A MAC goes from one to the other in one step.
	a.MACs, b.MACs = []string{"m2", "m3"}, []string{"m1"}
	if err := s.PutDevices(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = openTest(t, dir)
	got, err := s.Devices(t.Context())
	slices.SortFunc(got, func(a, b Device) int { return strings.Compare(a.ID, b.ID) })
	if diff := cmp.Diff([]Device{a, b}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := s.DeleteDevice(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteDevice(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if err := s.PutDevices(t.Context(), Device{ID: "c", MACs: []string{"m2"}}); err != nil {
		t.Errorf("the MACs of a deleted device are taken: %v", err)
	}
}

func TestEvents(t *testing.T) {
	s := openTest(t, t.TempDir())
	start := time.UnixMilli(1_790_000_000_000).UTC()
	var all []Event
	for i := range 300 {
		e := Event{Time: start.Add(time.Duration(i) * time.Second), Kind: []string{"dhcp", "http"}[i%2], MAC: fmt.Sprint("m", i%3), Message: fmt.Sprint(i)}
		if i%3 == 0 {
			e.UUID = "u0"
		}
		all = append(all, e)
	}
	if err := s.AddEvents(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	texts := func(q EventQuery) string {
		t.Helper()
		list, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, e := range list {
			words = append(words, e.Message)
		}
		return strings.Join(words, " ")
	}
	for _, c := range []struct {
		q    EventQuery
		want string
	}{
		{EventQuery{Limit: 3}, "297 298 299"},
		{EventQuery{Limit: 3, Before: all[297].ID}, "294 295 296"},
		{EventQuery{Limit: 3, After: all[297].ID}, "298 299"},
		{EventQuery{Limit: 3, MACs: []string{"m0"}, UUIDs: []string{"u0"}}, "291 294 297"},
		{EventQuery{Limit: 4, MACs: []string{"m0", "m1"}}, "294 295 297 298"},
		{EventQuery{Limit: 2, MACs: []string{"m0"}, Kinds: []string{"http"}}, "291 297"},
		{EventQuery{MACs: []string{"nobody"}}, ""},
		{EventQuery{Limit: 2, Kinds: []string{"http"}}, "297 299"},
		{EventQuery{Limit: 3, Kinds: []string{"dhcp", "http"}}, "297 298 299"},
	} {
		if got := texts(c.q); got != c.want {
			t.Errorf("%+v: %s, want %s", c.q, got, c.want)
		}
	}
	end := start.Add(2 * time.Hour)
	if n, err := s.TrimEvents(t.Context(), start.Add(100*time.Second), end, 1000); n != 100 || err != nil {
		t.Errorf("by age: %d, %v", n, err)
	}
	if n, err := s.TrimEvents(t.Context(), start, end, 50); n != 150 || err != nil {
		t.Errorf("by number: %d, %v", n, err)
	}
	if got := texts(EventQuery{Limit: 1000}); !strings.HasPrefix(got, "250 ") || strings.Count(got, " ") != 49 {
		t.Errorf("kept %s", got)
	}
	if n, err := s.TrimEvents(t.Context(), start.Add(time.Hour), end, 1); n != 50 || err != nil {
		t.Errorf("all: %d, %v", n, err)
	}
	more := []Event{{Message: "next"}}
	if err := s.AddEvents(t.Context(), more); err != nil || more[0].ID <= all[299].ID {
		t.Errorf("a number was given twice: %d, %v", more[0].ID, err)
	}
}

// TestTrimWhileTheClockIsSet: what was recorded with a clock that was years behind goes with
// what was recorded before it, and so does what was recorded with one that was ahead.
func TestTrimWhileTheClockIsSet(t *testing.T) {
	s := openTest(t, t.TempDir())
	now := time.Now()
	const year, month = 365 * 24 * time.Hour, 30 * 24 * time.Hour
	var all []Event
	for _, ago := range []time.Duration{12 * month, -2 * year, 11 * month, 20 * year, 10 * month, 2 * month, 20 * year, -3 * year, month} {
		all = append(all, Event{Time: now.Add(-ago), Message: ago.String()})
	}
	if err := s.AddEvents(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before time.Time
		now    time.Time
		gone   int64
	}{
		{time.Time{}, now, 0},
		{now.Add(-3 * month), now, 5},
		{now.Add(-2 * month), now, 0},
		{now.Add(-2*month + time.Minute), now, 3},
		{now, now, 1},
	} {
		if n, err := s.TrimEvents(t.Context(), c.before, c.now, 1000); n != c.gone || err != nil {
			t.Errorf("before %s: %d are gone, want %d; %v", c.before, n, c.gone, err)
		}
	}
}

// TestQueriesUseIndexes: the time of a page does not grow with the history.
func TestQueriesUseIndexes(t *testing.T) {
	s := openTest(t, t.TempDir())
	for where, index := range map[string]string{
		" mac = 'x' AND mac <> '' AND":   "event_mac",
		" uuid = 'x' AND uuid <> '' AND": "event_uuid",
		"":                               "PRIMARY KEY",
		" mac = 'x' AND mac <> '' AND +kind IN ('dhcp') AND": "event_mac",
		" kind = 'dhcp' AND": "event_kind",
	} {
		var plan []string
		rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+eventColumns+" WHERE"+where+eventRange, 0, 1<<62, 10)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var a, b, c int
			var text string
			if err := rows.Scan(&a, &b, &c, &text); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, text)
		}
		_ = rows.Close()
		if text := strings.Join(plan, "; "); !strings.Contains(text, index) || strings.Contains(text, "TEMP B-TREE") || strings.Contains(text, "SCAN") {
			t.Errorf("%q: %s", where, text)
		}
	}
}

// TestConcurrentUse: one writes while others read, in two processes' worth of
// connections; nobody waits for ever.
func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	a, b := openTest(t, dir), openTest(t, dir)
	var all sync.WaitGroup
	for _, s := range []*Store{a, b} {
		all.Go(func() {
			for i := range 50 {
				if err := s.AddEvents(t.Context(), []Event{{MAC: "m", Message: fmt.Sprint(i)}}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 50 {
				if _, err := s.Events(t.Context(), EventQuery{MACs: []string{"m"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, err := a.Events(t.Context(), EventQuery{Limit: 1000}); len(list) != 100 || err != nil {
		t.Errorf("%d, %v", len(list), err)
	}
}

// BenchmarkEvents is a page of one machine out of a million events.
func BenchmarkEvents(b *testing.B) {
	s := openTest(b, b.TempDir())
	const batch = 10_000
	list := make([]Event, batch)
	for n := 0; n < 1_000_000; n += batch {
		for i := range list {
			list[i] = Event{Time: time.Now(), MAC: fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8, i&0xff), UUID: fmt.Sprintf("4c4c4544-0042-3510-8052-%012x", i), Kind: "dhcp", Message: "UEFI x64 firmware boots by TFTP, so it gets its first stage snponly.efi."}
		}
		if err := s.AddEvents(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		got, err := s.Events(b.Context(), EventQuery{MACs: []string{"52:54:00:00:01:01"}, UUIDs: []string{"4c4c4544-0042-3510-8052-000000000101"}})
		if err != nil || len(got) != DefaultLimit {
			b.Fatalf("%d, %v", len(got), err)
		}
	}
}

// BenchmarkAddEvents is what writing costs, for each event.
func BenchmarkAddEvents(b *testing.B) {
	s := openTest(b, b.TempDir())
	list := make([]Event, 1000)
	b.ResetTimer()
	for n := 0; n < b.N; n += len(list) {
		for i := range list {
			list[i] = Event{Time: time.Now(), MAC: fmt.Sprint(i % 97), UUID: fmt.Sprint(i % 89), Kind: "dhcp", Message: "UEFI x64 firmware boots by TFTP"}
		}
		if err := s.AddEvents(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
}
