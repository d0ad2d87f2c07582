package secret

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/internal/store"
)

func TestVault(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	v, err := Open(ctx, s, dir)
	if err != nil {
		t.Fatal(err)
	}
	lab, pc := OfCollection("1"), OfDevice("1")
	for _, one := range []struct {
		owner       Owner
		name, value string
	}{{lab, "Key", "hunter2"}, {lab, "Join", "p4ss"}, {pc, "Key", "other"}, {lab, "Join", ""}} {
		if err := v.Set(ctx, one.owner, one.name, one.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Set(ctx, lab, "_Own", "x"); err == nil {
		t.Error("a name of castpoint's own was taken")
	}
	if err := v.Set(ctx, lab, "Long", strings.Repeat("x", 1<<20)); err == nil {
		t.Error("a value without a bound was taken")
	}
	// A server that was killed has them.
	if v, err = Open(ctx, s, dir); err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[Owner]string{lab: "map[Key:hunter2]", pc: "map[Key:other]"} {
		if got, err := v.Values(owner); err != nil || fmt.Sprint(got) != want || fmt.Sprint(v.Names(owner)) != "[Key]" {
			t.Errorf("%v: %v, %v", owner, got, err)
		}
	}
	// What is sealed for one cannot be opened for another: a row that is moved to
	// another owner in the database tells it nothing.
	if _, err := v.Unseal(pc.place("Key"), v.Seal(lab.place("Key"), "hunter2")); err == nil {
		t.Error("a secret was opened for another owner")
	}
	if a, b := v.Seal("x", "same"), v.Seal("x", "same"); bytes.Equal(a, b) {
		t.Error("equal secrets look equal")
	}
	if err := v.Drop(ctx, lab); err != nil {
		t.Fatal(err)
	}
	if v, err = Open(ctx, s, dir); err != nil || len(v.Names(lab)) != 0 || len(v.Names(pc)) != 1 {
		t.Errorf("%v, %v, %v", v.Names(lab), v.Names(pc), err)
	}
	_ = s.Close()
	files, err := filepath.Glob(filepath.Join(dir, "castpoint.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("hunter2")) || bytes.Contains(b, []byte("other")) && bytes.Contains(b, []byte("p4ss")) {
			t.Errorf("%s has a secret as it is: %v", f, err)
		}
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	if _, err := openKey(dir); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, FileKey))
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != KeySize {
		t.Fatalf("%v, %v", st, err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileKey), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKey(dir); err == nil || !strings.Contains(err.Error(), "5 bytes, not 32") {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	hash, err := HashPassword("open sesame")
	if err != nil || strings.Contains(hash, "sesame") {
		t.Fatal(hash, err)
	}
	for password, want := range map[string]bool{"open sesame": true, "": false, "Open sesame": false, strings.Repeat("x", 100): false} {
		if ok, err := MatchPassword(hash, password); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	if ok, err := MatchPassword("", "anything"); !ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := MatchPassword("no hash", "x"); err == nil {
		t.Error("a damaged hash is taken for an answer")
	}
	for _, bad := range []string{"short", strings.Repeat("x", 73)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
