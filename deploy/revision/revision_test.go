package revision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"castpoint/deploy/named"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

func TestSequences(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	running := map[int]bool{}
	open := func() *Sequences {
		t.Helper()
		s, err := Open(ctx, Config{
			Store: db, Deployments: func(name string) []string { return []string{"uses " + name} }, Running: func(string) map[int]bool { return running },
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	text := func(n int) string {
		return fmt.Sprintf("name: Install\nsteps:\n  - run-command: {command: number %d}\n", n)
	}
	first, err := s.Put(ctx, text(1), "anna")
	if err != nil || first.Revision != 1 || first.By != "anna" || first.Steps != 1 || fmt.Sprint(first.Deployments) != "[uses Install]" || first.Leaves[0].Kind != "run-command" {
		t.Fatalf("%+v, %v", first, err)
	}
	// The same text is no new revision, another letter case no other sequence.
	if again, err := s.Put(ctx, text(1), "bert"); err != nil || again.Revision != 1 || again.By != "anna" {
		t.Errorf("%+v, %v", again, err)
	}
	if other, err := s.Put(ctx, strings.Replace(text(2), "Install", "INSTALL", 1), "anna"); err != nil || other.Revision != 2 || other.Name != "Install" || len(s.All()) != 1 {
		t.Errorf("%+v, %v", other, err)
	}
	old, number := s.Parsed("install", 1)
	if number != 1 || old.Steps[0].RunCommand.Command != "number 1" || s.NumberOf(old) != 1 {
		t.Errorf("%d, %+v", number, old)
	}
	running[1] = true
	for i := range 2 * keep {
		if _, err := s.Put(ctx, text(10+i), "anna"); err != nil {
			t.Fatal(err)
		}
	}
	s = open()
	got, err := s.Get("inst", 0)
	if err != nil || got.Revision != 2*keep+2 || len(got.Revisions) != keep || got.Revisions[0] != 1 || got.Revisions[1] != keep+4 {
		t.Errorf("%d, %v, %v", got.Revision, got.Revisions, err)
	}
	if _, err := s.Get("install", 2); !errors.Is(err, named.ErrNotFound) || !strings.Contains(err.Error(), "revision 2") {
		t.Error(err)
	}
	if _, err := s.Put(ctx, "name: x\nsteps:\n  - nonsense: {}\n", ""); !errors.Is(err, sequence.ErrInvalid) || !strings.Contains(err.Error(), "3") {
		t.Error(err)
	}
	if err := s.Remove(ctx, "Install"); err != nil {
		t.Fatal(err)
	}
	if none, _ := open().Parsed("Install", 0); none != nil || len(s.All()) != 0 {
		t.Errorf("%+v", none)
	}
}
