package library

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"castpoint/content"
	"castpoint/test/image"
)

// Environment of a child process that operates on a library until it is killed.
const (
	envChildDir   = "CONTENT_TEST_DIR"
	envChildFile  = "CONTENT_TEST_FILE"
	envChildPoint = "CONTENT_TEST_POINT" // stop at this point, at its nth time
	envChildTimes = "CONTENT_TEST_TIMES"
	envChildDo    = "CONTENT_TEST_DO"
)

// TestMain turns the test program into the child of the crash tests when its
// environment says so.
func TestMain(m *testing.M) {
	if os.Getenv(envChildDir) != "" {
		fmt.Println("child:", child())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child opens the library, starts the operation, and stops for ever at the
// point, having said so.
func child() error {
	l, err := OpenOptions(os.Getenv(envChildDir), Options{Reserve: -1})
	if err != nil {
		return err
	}
	times, _ := strconv.Atoi(os.Getenv(envChildTimes))
	l.faults.Step = func(point string) error {
		if point == os.Getenv(envChildPoint) {
			if times--; times == 0 {
				fmt.Println("reached")
				select {}
			}
		}
		return nil
	}
	ctx := context.Background()
	switch os.Getenv(envChildDo) {
	case "add":
		_, err = l.Add(ctx, content.AddRequest{Kind: content.KindOSImage, Path: os.Getenv(envChildFile), Name: "new"})
	case "remove":
		err = l.Remove("old")
	case "set":
		_, err = l.Set("old", SetRequest{Comment: ptr("changed")})
	case "update":
		_, err = l.Update(ctx, "old", content.AddRequest{Path: os.Getenv(envChildFile)})
	case "hold":
		fmt.Println("reached")
		select {}
	}
	return err
}

// startChild starts a child and waits until it says "reached"; ended is true
// when it finished without.
func startChild(t *testing.T, dir, file, do, point string, times int) (cmd *exec.Cmd, ended bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), envChildDir+"="+dir, envChildFile+"="+file, envChildDo+"="+do,
		envChildPoint+"="+point, envChildTimes+"="+strconv.Itoa(times))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("child: %v", err)
	}
	if strings.TrimSpace(line) == "reached" {
		return cmd, false
	}
	if strings.TrimSpace(line) != "child: <nil>" {
		t.Errorf("%s", line)
	}
	_ = cmd.Wait()
	return cmd, true
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
}

// TestKilled kills a process at every point of every operation, opens what it
// leaves, and demands that the operation has happened or has not.
func TestKilled(t *testing.T) {
	old := image.Capture(t, 100_000, []string{"--check"}, "old")
	fresh := image.Capture(t, 6<<20, []string{"--check"}, "fresh")
	points := []string{"copy", "temporary", "pending", "object", "manifest", "before content", "content", "before remove", "removed"}
	for _, do := range []string{"add", "update", "set", "remove"} {
		stopped := 0
		for _, point := range points {
			for times := 1; ; times++ {
				dir := t.TempDir()
				l := openLibrary(t, dir)
				before := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: old, Name: "old"})
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				cmd, ended := startChild(t, dir, fresh, do, point, times)
				if ended {
					break
				}
				stopped++
				kill(cmd)
				l = openLibrary(t, dir)
				list, err := l.List()
				if err != nil {
					t.Fatal(err)
				}
				happened := false
				switch do {
				case "add":
					happened = len(list) == 2
				case "remove":
					happened = len(list) == 0
				case "set":
					happened = len(list) == 1 && list[0].Comment == "changed"
				case "update":
					happened = len(list) == 1 && list[0].Revision == 2 && list[0].Files[0].Digest != before.Files[0].Digest
				}
				if want := point == "content" || point == "removed"; happened != want {
					t.Errorf("%s killed at %s, time %d: happened %v, want %v", do, point, times, happened, want)
				}
				consistent(t, l)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if t.Failed() {
					t.Fatalf("%s killed at %s, time %d: %v", do, point, times, list)
				}
			}
		}
		if want := map[string]int{"add": 7, "update": 7, "set": 2, "remove": 2}[do]; stopped < want {
			t.Errorf("%s was killed at %d points, want at least %d", do, stopped, want)
		}
	}
}

// TestKilledAnywhere kills an add after times that have nothing to do with its
// points.
func TestKilledAnywhere(t *testing.T) {
	fresh := image.Capture(t, 20<<20, []string{"--check", "--compress=none"}, "fresh")
	for i := range 12 {
		dir := t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), envChildDir+"="+dir, envChildFile+"="+fresh, envChildDo+"=add")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(i*i)*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		_ = cmd.Wait()
		timer.Stop()
		l := openLibrary(t, dir)
		consistent(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLocked demands that a second process is refused and told who has the
// library, and that the lock goes with its holder.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	cmd, ended := startChild(t, dir, "", "hold", "", 0)
	if ended {
		t.Fatal("child ended")
	}
	_, err := Open(dir)
	if !errors.Is(err, content.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("have %v, want the pid %d", err, cmd.Process.Pid)
	}
	kill(cmd)
	l := openLibrary(t, dir)
	if _, err := Open(dir); !errors.Is(err, content.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("opened twice in one process: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLeftovers demands that Open removes what lies in tmp and only that.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000, nil, "x")})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	orphan := content.Digest{0xab, 1}
	writeFile(t, objectPath(l, orphan), []byte("orphan"))
	writeFile(t, manifestPath(l, orphan), []byte("orphan"))
	writeFile(t, pendingPath(l, orphan), nil)
	writeFile(t, pendingPath(l, c.Files[0].Digest), nil) // referred to: stays
	writeFile(t, filepath.Join(dir, "tmp", "add-123"), []byte("half"))
	writeFile(t, filepath.Join(dir, "tmp", "folder", "file"), nil)
	writeFile(t, filepath.Join(dir, "tmp", "zz.pending"), nil)
	l = openLibrary(t, dir)
	consistent(t, l)
}

// TestUnreadableContent demands that a content file which cannot be read hurts
// no other, is reported, and keeps its objects.
func TestUnreadableContent(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(b []byte) []byte { return b[:len(b)/2] },
		"other format": func(b []byte) []byte { return []byte(strings.Replace(string(b), `"format": 1`, `"format": 2`, 1)) },
		"other ID":     func(b []byte) []byte { return []byte(strings.Replace(string(b), `"id": "bad"`, `"id": "good"`, 1)) },
		"bad file name": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"name": "install.wim"`, `"name": "../../x"`, 1))
		},
		"bad digest": func(b []byte) []byte { return []byte(strings.Replace(string(b), `"sha256": "`, `"sha256": "z`, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLibrary(t, dir)
			file := image.Capture(t, 1000, nil, "bad")
			bad := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file})
			good := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: file, Name: "good"}) // the same object
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := l.contentPath("bad")
			intact := readFile(t, path)
			writeFile(t, path, damage(intact))
			l = openLibrary(t, dir)
			if p := l.Problems(); len(p) != 1 || p[0].Path != path {
				t.Errorf("problems: %v", p)
			}
			if _, err := l.Get("bad"); !errors.Is(err, content.ErrNotFound) {
				t.Error(err)
			}
			if c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 3000, nil, "bad")}); c.ID != "bad-2" {
				t.Errorf("took the ID %s", c.ID)
			}
			if err := l.Remove(good.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := l.CollectGarbage(context.Background()); !errors.Is(err, content.ErrDamaged) {
				t.Errorf("collect garbage: %v", err)
			}
			if _, err := os.Stat(objectPath(l, bad.Files[0].Digest)); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, intact) // the admin restores it: all is well again
			l = openLibrary(t, dir)
			consistent(t, l)
		})
	}
}

// TestMissingObject demands that Open reports a content whose object is gone.
func TestMissingObject(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	c := add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 1000, nil, "x")})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(objectPath(l, c.Files[0].Digest)); err != nil {
		t.Fatal(err)
	}
	l = openLibrary(t, dir)
	if p := l.Problems(); len(p) != 1 || !errors.Is(p[0].Err, os.ErrNotExist) {
		t.Errorf("problems: %v", p)
	}
	v, err := l.Validate(context.Background(), c.ID, nil)
	if err != nil || !v.Files[0].Missing || !errors.Is(v.Err(), content.ErrDamaged) {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := l.CollectGarbage(context.Background()); err != nil {
		t.Errorf("all contents are known, and garbage is not collected: %v", err)
	}
}
