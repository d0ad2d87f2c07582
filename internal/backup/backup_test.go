package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"castpoint/internal/store"
)

const digest = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"

// dataFolder makes one with a database, a key, a content and its object.
func dataFolder(t *testing.T) (dir, settings string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	for name, text := range map[string]string{
		"tls/join.pem":                   "key",
		"tokens.json":                    "{}",
		"admin.json":                     "of a server that runs",
		"downloads/half":                 "half",
		"library/contents/win11.json":    "{}",
		"library/manifests/" + digest:    "hashes",
		"library/objects/ab/" + digest:   "image",
		"library/tmp/add-1":              "half",
		"library/lock":                   "1",
		"library/contents/.win11.json.1": "half",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // open while the backup is made
	settings = filepath.Join(t.TempDir(), "castpoint.yaml")
	if err := os.WriteFile(settings, []byte("dhcp: \"off\"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir, settings
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(dir, path)
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// contents are the files below a folder and what is in them.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

func TestBackupAndRestore(t *testing.T) {
	data, settings := dataFolder(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.zst")
	for range 2 { // the second replaces the first
		r, err := Write(t.Context(), file, data, settings, "v1")
		if err != nil {
			t.Fatal(err)
		}
		if want := []Object{{digest, 5}}; r.Files != 5 || !cmp.Equal(r.Objects, want) {
			t.Errorf("result %+v", r)
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}

	to := filepath.Join(dir, "new", "data")
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	newSettings := filepath.Join(dir, "etc", "castpoint.yaml")
	r, err := Restore(t.Context(), file, to, newSettings, filepath.Join(data, "library", "objects"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Missing) != 0 || r.Settings != newSettings || r.Version != "v1" {
		t.Errorf("result %+v", r)
	}
	want := []string{"castpoint.db", "library/contents/win11.json", "library/manifests/" + digest,
		"library/objects/ab/" + digest, "tls/join.pem", "tokens.json"}
	if diff := cmp.Diff(want, files(t, to)); diff != "" {
		t.Error(diff)
	}
	for _, secret := range []string{"castpoint.db", "tls/join.pem", "tokens.json"} {
		if st, err := os.Stat(filepath.Join(to, secret)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", secret, st.Mode(), err)
		}
	}
	if s, err := store.Open(t.Context(), to); err != nil {
		t.Errorf("the restored database: %v", err)
	} else {
		_ = s.Close()
	}

	// Never over something, and without objects they are named.
	if _, err := Restore(t.Context(), file, to, newSettings, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("over a data folder: %v", err)
	}
	if err := os.WriteFile(newSettings, []byte("dhcp: proxy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = Restore(t.Context(), file, filepath.Join(dir, "third"), newSettings, "")
	if err != nil || len(r.Missing) != 1 || r.Settings != newSettings+".restored" {
		t.Errorf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// archive makes a backup of the entries given.
func archive(t *testing.T, d Description, entries ...*tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	first := &tar.Header{Typeflag: tar.TypeReg, Name: nameDescription, Size: int64(len(text)), Mode: 0o600}
	if err := w.WriteHeader(first); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{'x'}, int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tar.zst")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRestoreRefuses(t *testing.T) {
	good := Description{Format: Format}
	whole := archive(t, good, &tar.Header{Typeflag: tar.TypeReg, Name: "data/a", Size: 100000, Mode: 0o600})
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	text := filepath.Join(t.TempDir(), "text")
	if err := errors.Join(os.WriteFile(cut, b[:len(b)-20], 0o600), os.WriteFile(text, []byte("no backup"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"another format": {archive(t, Description{Format: 9, Version: "v9"}), "format 9, made by castpoint v9"},
		"above":          {archive(t, good, &tar.Header{Typeflag: tar.TypeReg, Name: "data/../../x", Mode: 0o600}), "no name of a file"},
		"elsewhere":      {archive(t, good, &tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd", Mode: 0o600}), "no name of a file"},
		"link":           {archive(t, good, &tar.Header{Typeflag: tar.TypeSymlink, Name: "data/a", Linkname: "/etc"}), "neither a file nor a folder"},
		"twice": {archive(t, good, &tar.Header{Typeflag: tar.TypeReg, Name: "data/a", Mode: 0o600},
			&tar.Header{Typeflag: tar.TypeReg, Name: "data/a", Mode: 0o600}), "exists"},
		"object":  {archive(t, Description{Format: Format, Objects: []Object{{"../../../etc", 1}}}), "no SHA-256"},
		"cut off": {cut, "damaged or was cut off"},
		"text":    {text, "no backup of castpoint"},
		"nothing": {os.DevNull, "no backup of castpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Restore(t.Context(), c.file, filepath.Join(dir, "data"), "", dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A bit that has turned over on the way is noticed, wherever it means anything: keys and
// database have no checksums of their own.
func TestRestoreOfADamagedBackup(t *testing.T) {
	data, settings := dataFolder(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.zst")
	if _, err := Write(t.Context(), file, data, settings, "v1"); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	right := filepath.Join(t.TempDir(), "right")
	if _, err := Restore(t.Context(), file, right, "", ""); err != nil {
		t.Fatal(err)
	}
	try := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		restored := filepath.Join(dir, "new")
		_, err := Restore(t.Context(), file, restored, "", "")
		if err == nil { // a few bits of compressed data mean nothing
			if !reflect.DeepEqual(contents(t, restored), contents(t, right)) {
				t.Fatalf("%s: something else is restored", what)
			}
			if err := os.RemoveAll(restored); err != nil {
				t.Fatal(err)
			}
			return
		}
		if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "\x00") {
			t.Errorf("%s: %q", what, err)
		}
		if left := files(t, dir); len(left) != 1 {
			t.Fatalf("%s: left behind: %v", what, left)
		}
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/100 {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		try(fmt.Sprint("byte ", i), b)
	}
	for _, missing := range []int{1, 4, 5, 100, len(whole) / 2, len(whole) - 1} {
		try(fmt.Sprint("without the last ", missing), whole[:len(whole)-missing])
	}
}

// The root of a file system cannot be replaced: the files go into it.
func TestSettleOnAMount(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	stage := filepath.Join(data, ".restore")
	for _, name := range []string{"tls/join.pem", store.FileName, "leases"} {
		path := filepath.Join(stage, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(data, lostFound), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := settle(stage, data, true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{store.FileName, "leases", "tls/join.pem"}, files(t, data)); diff != "" {
		t.Error(diff)
	}
	// One that cannot be moved leaves none.
	other := filepath.Join(dir, "other")
	if err := errors.Join(os.MkdirAll(filepath.Join(other, "tls", "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := settle(data, other, true); err == nil {
		t.Error("over a folder that is not empty")
	}
	if left := files(t, other); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A backup that fails leaves the one before it alone.
func TestWriteFails(t *testing.T) {
	data, settings := dataFolder(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "b")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, file, data, settings, "v1"); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(file); string(b) != "before" {
		t.Errorf("the backup before is gone: %q", b)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A database of a later version is refused before anything is in its place.
func TestRestoreOfALaterVersion(t *testing.T) {
	data, _ := dataFolder(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO schema_version(version, what) VALUES (99, 'later')"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.zst")
	if _, err := Write(t.Context(), file, data, "", "v9"); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "new")
	if _, err := Restore(t.Context(), file, to, "", ""); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "99") {
		t.Errorf("%v", err)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
