package library

import (
	"errors"
	"os"
	"strings"
	"testing"

	"castpoint/content"
)

// What is wrong with an object is noted in all contents that have it, outlasts the
// process, and ends when the object is written anew.
func TestDamageIsNoted(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenOptions(dir, Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	data := make([]byte, 3*content.BlockSize+5)
	if err := os.WriteFile(src+"/data.bin", data, 0o644); err != nil {
		t.Fatal(err)
	}
	add := func(name string) *content.Content {
		t.Helper()
		c, err := l.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: src, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	d := add("one").Files[0].Digest
	add("two")
	for block, good := range map[int]bool{-1: false, 0: true, 3: true, 4: false} {
		if err := l.CheckBlock(d, block); good && err != nil || !good && !errors.Is(err, content.ErrInvalid) {
			t.Errorf("block %d: %v", block, err)
		}
	}
	if err := l.CheckBlock(content.Digest{1}, 0); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	data[2*content.BlockSize] = 1
	if err := errors.Join(os.Chmod(objectPath(l, d), 0o644), os.WriteFile(objectPath(l, d), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := l.CheckBlock(d, 1); err != nil {
		t.Error("a block that is right:", err)
	}
	err = l.CheckBlock(d, 2)
	if !errors.Is(err, content.ErrDamaged) || !strings.Contains(err.Error(), "file data.bin: the block at byte 360448 is damaged") {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = OpenOptions(dir, Options{Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"one", "two"} {
		c, err := l.Get(name)
		if err != nil || c.Damage() == nil || !strings.HasSuffix(c.Damage().Error(), "castpoint content repair "+name) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	// What a validation has found is not replaced by less.
	if _, err := l.Validate(t.Context(), "one", nil); err != nil {
		t.Fatal(err)
	}
	if err := l.NoteDamage(d, "it is odd"); !errors.Is(err, content.ErrDamaged) || strings.Contains(err.Error(), "odd") {
		t.Error(err)
	}
	data[2*content.BlockSize] = 0
	if err := os.WriteFile(src+"/data.bin", data, 0o644); err != nil {
		t.Fatal(err)
	}
	add("three")
	for _, name := range []string{"one", "two"} {
		if c, err := l.Get(name); err != nil || c.Damage() != nil {
			t.Errorf("%s after the object was written anew: %v, %v", name, c.Damage(), err)
		}
	}
	if err := l.CheckBlock(d, 2); err != nil {
		t.Error(err)
	}
	// An object that is gone.
	if err := os.Remove(objectPath(l, d)); err != nil {
		t.Fatal(err)
	}
	if err := l.CheckBlock(d, 0); !errors.Is(err, content.ErrDamaged) || !strings.Contains(err.Error(), "it is missing") {
		t.Error(err)
	}
}
