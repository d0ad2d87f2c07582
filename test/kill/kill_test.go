// Package kill kills castpoint at random points while it works on its library,
// and demands each time that the library is whole and the next try succeeds.
//
// CASTPOINT_KILLS is how often; without it as often as takes a few seconds.
package kill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/content"
)

// Exit codes that a try may end with.
const (
	done     = 0
	notFound = 4
	refused  = 5
)

// library is a data folder and the program that works on it.
type library struct {
	t      *testing.T
	binary string
	data   string
}

// newLibrary builds castpoint.
func newLibrary(t *testing.T) *library {
	t.Helper()
	l := &library{t, filepath.Join(t.TempDir(), "castpoint"), filepath.Join(t.TempDir(), "data")}
	if out, err := exec.Command("go", "build", "-o", l.binary, "castpoint/cmd/castpoint").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return l
}

func (l *library) command(args ...string) *exec.Cmd {
	return exec.Command(l.binary, append(args, "--data", l.data)...)
}

// run runs a command to its end and returns its exit code.
func (l *library) run(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	cmd := l.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		l.t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return code, out.String(), errs.String()
}

// must is run for a command that has to succeed.
func (l *library) must(args ...string) string {
	l.t.Helper()
	code, out, errs := l.run(args...)
	if code != done {
		l.t.Fatalf("castpoint %v: exit code %d: %s", args, code, errs)
	}
	return out
}

// killed starts a command and kills it after a time; false when it had ended.
func (l *library) killed(after time.Duration, args ...string) bool {
	l.t.Helper()
	cmd := l.command(args...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && !exit.Exited()
}

// contents lists what is there, by id.
func (l *library) contents() map[string]content.Content {
	l.t.Helper()
	var list []content.Content
	if err := json.Unmarshal([]byte(l.must("content", "list", "--json")), &list); err != nil {
		l.t.Fatal(err)
	}
	byID := map[string]content.Content{}
	for _, c := range list {
		byID[c.ID] = c
	}
	return byID
}

// whole demands that everything validates, and that there is nothing on disk
// which no content needs.
func (l *library) whole() {
	l.t.Helper()
	l.wholeBut(nil, false)
}

// wholeBut is whole but for the orphans and, after a kill, the unfinished copies
// that the next try goes on with.
func (l *library) wholeBut(orphans map[string]bool, copies bool) {
	l.t.Helper()
	l.must("content", "validate")
	want := map[string]bool{}
	for _, c := range l.contents() {
		want["contents/"+c.ID+".json"] = true
		for _, f := range c.Files {
			d := f.Digest.String()
			want["objects/"+d[:2]+"/"+d], want["manifests/"+d] = true, true
		}
	}
	dir := filepath.Join(l.data, "library")
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		unfinished := copies && strings.HasPrefix(rel, "tmp/copy-")
		if rel != "lock" && !want[rel] && !orphans[rel] && !unfinished {
			l.t.Errorf("%s is left over", rel)
		}
		delete(want, rel)
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	for p := range want {
		l.t.Errorf("%s is missing", p)
	}
}

// orphan puts objects into the library that nothing refers to.
func (l *library) orphan(n int) map[string]bool {
	l.t.Helper()
	all := map[string]bool{}
	for range n {
		var d content.Digest
		for i := range d {
			d[i] = byte(rand.Uint32())
		}
		for _, rel := range []string{"objects/" + d.String()[:2] + "/" + d.String(), "manifests/" + d.String()} {
			p := filepath.Join(l.data, "library", rel)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o750), os.WriteFile(p, make([]byte, 1000), 0o444)); err != nil {
				l.t.Fatal(err)
			}
			all[rel] = true
		}
	}
	return all
}

// makeWIM makes a WIM with an integrity table and bytes that do not compress.
func makeWIM(t *testing.T, name string, size int) string {
	t.Helper()
	dir := t.TempDir()
	random := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(len(name)), name[0]}).Read(random)
	if err := os.WriteFile(filepath.Join(dir, "data"), random, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".wim")
	if out, err := exec.Command("wimlib-imagex", "capture", dir, file, name, "--check", "--compress=none").CombinedOutput(); err != nil {
		t.Fatalf("wimlib-imagex: %v\n%s", err, out)
	}
	return file
}

// makeFolder makes a folder of many files, some of them twice.
func makeFolder(t *testing.T, files int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		b := make([]byte, 1000*(i%17))
		_, _ = rand.NewChaCha8([32]byte{byte(i / 2)}).Read(b)
		p := filepath.Join(dir, strconv.Itoa(i%7), strconv.Itoa(i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// operation is a command that is killed. before puts things into the state that
// it begins in; happened says whether it has taken effect.
type operation struct {
	name     string
	args     []string
	again    int // exit code of the next try when it had happened before
	before   func() (orphans map[string]bool)
	happened func() bool
}

func TestKill(t *testing.T) {
	kills := 12
	if s := os.Getenv("CASTPOINT_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("CASTPOINT_KILLS: %v", err)
		}
	}
	l := newLibrary(t)
	old, fresh, folder := makeWIM(t, "old", 6<<20), makeWIM(t, "fresh", 12<<20), makeFolder(t, 60)
	gone := func(id string) func() map[string]bool {
		return func() map[string]bool {
			if code, _, errs := l.run("content", "remove", id); code != done && code != notFound {
				t.Fatal(errs)
			}
			return nil
		}
	}
	there := func(id string) func() bool { return func() bool { return l.contents()[id].ID == id } }
	var orphans map[string]bool
	operations := []operation{
		{"add image", []string{"content", "add", "os-image", fresh, "--name", "new"}, refused, gone("new"), there("new")},
		{"add folder", []string{"content", "add", "package", folder, "--name", "tools"}, refused, gone("tools"), there("tools")},
		{"update", []string{"content", "update", "old", fresh, "--version", "2"}, done,
			func() map[string]bool { l.must("content", "update", "old", old, "--version", "1"); return nil },
			func() bool { return l.contents()["old"].Version == "2" }},
		{"remove", []string{"content", "remove", "new"}, notFound,
			func() map[string]bool {
				l.run("content", "add", "os-image", fresh, "--name", "new")
				return nil
			},
			func() bool { return !there("new")() }},
		{"gc", []string{"content", "gc"}, done,
			func() map[string]bool { orphans = l.orphan(200); return orphans },
			func() bool { return true }},
	}
	l.must("content", "add", "os-image", old, "--name", "old")

	// How long each takes says when to kill.
	took := make([]time.Duration, len(operations))
	for i, o := range operations {
		o.before()
		began := time.Now()
		l.must(o.args...)
		took[i] = time.Since(began)
		l.whole()
	}
	var before, behind, ended int
	for n := 0; before+behind < kills; n++ {
		i := n % len(operations)
		o := operations[i]
		orphans := o.before()
		// Starting the program is the least interesting part of it.
		wait := took[i]/10 + time.Duration(rand.Int64N(int64(took[i])))
		began := time.Now()
		hit := l.killed(wait, o.args...)
		if !hit {
			// It was faster than the one that was measured.
			took[i] = max(min(took[i], time.Since(began)), 5*time.Millisecond)
		}
		happened := o.happened()
		switch {
		case !hit:
			ended++
		case happened:
			behind++
		default:
			before++
		}
		if ended > 10*kills+50 {
			t.Fatalf("%d commands have ended before they could be killed", ended)
		}
		l.wholeBut(orphans, true)
		want := done
		if happened {
			want = o.again
		}
		if code, _, errs := l.run(o.args...); code != want {
			t.Errorf("%s, killed after %s, tried again: exit code %d, want %d: %s", o.name, wait, code, want, errs)
		}
		l.whole()
		if t.Failed() {
			t.Fatalf("%s, killed after %s", o.name, wait)
		}
	}
	t.Logf("%d kills: %d before the effect, %d behind it; %d commands had ended before", kills, before, behind, ended)
	if before == 0 {
		t.Error("no kill came before the end of a command: it tells nothing")
	}
}

// An addition that was killed goes on from what it has copied. A byte of the
// source is changed behind the back of its time meanwhile: that the object does
// not have it proves where its beginning came from.
func TestResume(t *testing.T) {
	l := newLibrary(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "data")
	random := make([]byte, 256<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random)
	if err := os.WriteFile(file, random, 0o644); err != nil {
		t.Fatal(err)
	}
	want := content.Digest(sha256.Sum256(random))
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"content", "add", "package", folder, "--name", "large"}
	cmd := l.command(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const header, hash, blocks = 48, 32, 100 // of the journal
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		journals, _ := filepath.Glob(filepath.Join(l.data, "library", "tmp", "copy-*.journal"))
		if len(journals) == 1 {
			if j, err := os.Stat(journals[0]); err == nil && j.Size() >= header+hash*blocks {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("no journal grows")
		}
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil {
		t.Fatal("it has ended before it was killed")
	}
	l.wholeBut(nil, true)

	random[0]++
	if err := errors.Join(os.WriteFile(file, random, 0o644), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	l.must(args...)
	if have := l.contents()["large"].Files[0].Digest; have != want {
		t.Errorf("the object is %s, want %s, which the first blocks of the killed addition make", have, want)
	}
	l.whole()
}

// Two processes are kept apart, and a lock goes with its holder however that
// ends.
func TestLock(t *testing.T) {
	l := newLibrary(t)
	holder := l.command("content", "import", "-")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // until it has the library
		b, err := os.ReadFile(filepath.Join(l.data, "library", "lock"))
		if err == nil && strings.TrimSpace(string(b)) == fmt.Sprint(holder.Process.Pid) {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the first process never took the library")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, args := range [][]string{{"content", "list"}, {"content", "gc"}, {"content", "add", "package", makeFolder(t, 1)}} {
		code, _, errs := l.run(args...)
		if code != refused || !strings.Contains(errs, "process "+fmt.Sprint(holder.Process.Pid)) {
			t.Errorf("castpoint %v: exit code %d: %s", args, code, errs)
		}
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	l.must("content", "list")
	l.whole()
}
