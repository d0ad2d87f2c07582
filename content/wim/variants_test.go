package wim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"castpoint/content/wim"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

// compareExtracted compares every file with the one that wimlib extracts.
func compareExtracted(t *testing.T, tree *wim.Tree, file string, index int, args ...string) {
	t.Helper()
	dir := t.TempDir()
	wimfile.Wimlib(t, append([]string{"extract", file, strconv.Itoa(index), "--dest-dir=" + dir, "--no-acls"}, args...)...)
	seen := 0
	err := tree.Walk(func(path string, e wim.Entry) error {
		seen++
		st, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		if st.IsDir() != e.IsDir() || st.Mode()&fs.ModeSymlink != 0 != (e.ReparseTag == metadata.ReparseSymlink) {
			t.Errorf("%s: attributes %#x, wimlib makes %v of it", path, e.Attributes, st.Mode())
		}
		if !st.Mode().IsRegular() {
			return nil
		}
		want, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		have, err := tree.ReadFile(path, int64(len(want)))
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what wimlib extracts: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	extracted := 0
	if err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { extracted++; return nil }); err != nil || seen != extracted {
		t.Errorf("%d entries, wimlib extracts %d: %v", seen, extracted, err)
	}
}

// TestImagesAgainstWimlib reads several images of one file, of which each has
// contents of its own and some in common.
func TestImagesAgainstWimlib(t *testing.T) {
	first, second := wimfile.SourceTree(t), wimfile.SourceTree(t)
	for name, data := range map[string]string{"only.txt": "in the second", "Windows/System32/winload.exe": "another"} {
		if err := os.WriteFile(filepath.Join(second, name), []byte(strings.Repeat(data, 1000)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"--compress=lzx"}, {"--compress=lzms"}, {"--solid"}, {"--solid", "--solid-compress=xpress", "--solid-chunk-size=32768"}, {"--pipable"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "images.wim")
			wimfile.Wimlib(t, append([]string{"capture", first, file, "one"}, args...)...)
			// Solid resources are added to, not made anew: the file gets two.
			wimfile.Wimlib(t, append([]string{"append", second, file, "two"}, args[:1]...)...)
			r := wimfile.OpenFile(t, file)
			for i, dir := range []string{first, second} {
				tree := wimfile.Image(t, r, i+1)
				compareTree(t, tree, dir)
				compareExtracted(t, tree, file, i+1)
			}
			if args[0] == "--solid" && r.Solids() != 2 {
				t.Errorf("%d solid resources", r.Solids())
			}
			if err := r.VerifyBlobs(context.Background(), 3, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHugeFile reads a file of more than 4 GiB, whose chunk table is wider.
func TestHugeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tree", "huge")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1<<32 + 100_000
	marks := map[int64]string{0: "begin", 1<<31 - 2: "across", 1<<32 - 3: "four GiB", size - 3: "end"}
	for at, text := range marks {
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "huge.wim")
	wimfile.Wimlib(t, "capture", filepath.Dir(path), file, "huge", "--compress=lzx:1")
	r := wimfile.OpenFile(t, file)
	b, err := wimfile.Image(t, r, 1).Open("huge")
	if err != nil {
		t.Fatal(err)
	}
	if b.Size() != size {
		t.Errorf("%d bytes", b.Size())
	}
	for at, text := range marks {
		have := make([]byte, len(text))
		if _, err := b.ReadAt(have, at); err != nil && !errors.Is(err, io.EOF) || string(have) != text {
			t.Errorf("at %d: %q %v", at, have, err)
		}
	}
	if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
		t.Error(err)
	}
}

// ntfs runs a program of ntfs-3g.
func ntfs(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if path, err := exec.LookPath(name); err != nil && path == "" {
		cmd.Path = "/usr/sbin/" + name
		cmd.Err = nil
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// TestNTFSStreams captures an NTFS volume with named streams and security
// descriptors, applies it to another, and compares every stream with what is
// there then.
func TestNTFSStreams(t *testing.T) {
	dir := t.TempDir()
	volume := func(name string) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(12<<20), f.Close()); err != nil {
			t.Fatal(err)
		}
		ntfs(t, "mkntfs", "-F", "-Q", "-q", path)
		return path
	}
	from := volume("from.ntfs")
	streams := []struct{ file, stream, text string }{
		{"report.doc", "", strings.Repeat("the content\n", 3000)},
		{"report.doc", "Zone.Identifier", "[ZoneTransfer]\r\nZoneId=3\r\n"},
		{"report.doc", "large", strings.Repeat("a stream longer than the content ", 20_000)},
		{"empty.txt", "", ""},
		{"empty.txt", "only this", "an empty file with a stream"},
		{"Größe und 図.txt", "", "a name beyond ASCII"},
	}
	for _, s := range streams {
		text := filepath.Join(dir, "text")
		if err := os.WriteFile(text, []byte(s.text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-q", "-f", from, text, s.file}
		if s.stream != "" {
			args = append([]string{"-N", s.stream}, args...)
		}
		ntfs(t, "ntfscp", args...)
	}
	for _, v := range [][]string{{"--compress=lzx"}, {"--compress=lzms"}, {"--solid"}} {
		file := filepath.Join(dir, "ntfs.wim")
		wimfile.Wimlib(t, append([]string{"capture", from, file, "ntfs"}, v...)...)
		to := volume("to.ntfs")
		wimfile.Wimlib(t, "apply", file, "1", to)
		tree := wimfile.Image(t, wimfile.OpenFile(t, file), 1)
		wimfile.CompareDir(t, tree, file, 1)
		for _, s := range streams {
			e, err := tree.Lookup(s.file)
			if err != nil {
				t.Fatal(err)
			}
			if sd, ok := tree.Security(e.SecurityID); !ok || len(sd) < 20 || sd[0] != 1 {
				t.Errorf("%s: security descriptor % x", s.file, sd)
			}
			args := []string{"-f", to, s.file}
			if s.stream != "" {
				args = append([]string{"-n", s.stream}, args...)
			}
			want := ntfs(t, "ntfscat", args...)
			if string(want) != s.text {
				t.Fatalf("%s:%s was applied as %d bytes, not %d", s.file, s.stream, len(want), len(s.text))
			}
			found := false
			for _, have := range e.Streams {
				if have.Name != s.stream || have.Kind != metadata.StreamData {
					continue
				}
				found = true
				b, err := tree.OpenStream(have)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(b.Reader())
				if err != nil || !bytes.Equal(data, want) {
					t.Errorf("%v: %s:%s has %d bytes, NTFS has %d: %v", v, s.file, s.stream, len(data), len(want), err)
				}
			}
			if !found && s.text != "" {
				t.Errorf("%v: %s has no stream %q: %+v", v, s.file, s.stream, e.Streams)
			}
		}
	}
}
