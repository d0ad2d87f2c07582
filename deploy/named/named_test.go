package named

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"castpoint/internal/store"
)

func TestFind(t *testing.T) {
	all := map[string]string{"a1b2c3d4e5": "Lab", "a1ffffffff": "Lab 2", "00000000cc": "office"}
	byID := func(name string) string {
		for id, n := range all {
			if n == name {
				return id
			}
		}
		return ""
	}
	find := func(text string) (string, error) {
		return Find(all, text, byID, func(name string) string { return name })
	}
	for text, want := range map[string]string{"lab": "Lab", "LAB 2": "Lab 2", "off": "office", "00": "office", " office ": "office", "a1b": "Lab", "a1ffffffff": "Lab 2"} {
		if got, err := find(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{"": ErrNotFound, "x": ErrNotFound, "a1": ErrAmbiguous, "la": ErrAmbiguous} {
		if got, err := find(text); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, ok := range map[string]bool{"Room 101": true, "a": true, "": false, " a": false, "-a": false, "a/b": false, "a\n": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false} {
		if err := Check(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestPut(t *testing.T) {
	ctx := context.Background()
	s, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	one, two := NewID(), NewID()
	if one == two || len(one) != 10 {
		t.Errorf("%s, %s", one, two)
	}
	if err := Put(ctx, s, store.TableCollections, one, "Lab", time.Now(), 1); err != nil {
		t.Fatal(err)
	}
	if err := Put(ctx, s, store.TableCollections, one, "LAB", time.Now(), 2); err != nil {
		t.Errorf("the same one under another name: %v", err)
	}
	if err := Put(ctx, s, store.TableCollections, two, "lab", time.Now(), 3); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "a collection is called lab") {
		t.Error(err)
	}
}
