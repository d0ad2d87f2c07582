package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestFit(t *testing.T) {
	list := [][]string{{"ID", "NAME", "REASON"}, {"4f1a09c2", "pc-17", strings.Repeat("disk full ", 20)}, {"4f1a09c3-long-id", "ä-" + strings.Repeat("ö", 40), "x"}}
	facts := [][]string{{"content", "win11"}, {"because", strings.Repeat("it is so ", 20)}}
	for _, width := range []int{0, 30, 60, 80, 120} {
		for _, rows := range [][][]string{list, facts} {
			b := &shot{width: width}
			if err := table(b, rows); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				n := utf8.RuneCountInString(strings.TrimRight(line, "\n"))
				if width >= 60 && n > width {
					t.Errorf("%d characters in %d: %s", n, width, line)
				}
			}
			if width == 0 && strings.Count(b.String(), "\n") != len(rows) {
				t.Errorf("changed where nobody looks:\n%s", b)
			}
			if !strings.Contains(b.String(), rows[len(rows)-1][0]) {
				t.Errorf("the name of a row is cut:\n%s", b)
			}
		}
	}
}

// --watch shows what has changed, and ends when it is told to, which is no failure.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := &options{}
	n := 0
	c := o.addJSON(&cobra.Command{Use: "list", RunE: func(cmd *cobra.Command, _ []string) error {
		if n++; n == 6 {
			cancel()
		}
		return printJSON(cmd.OutOrStdout(), map[string]int{"n": n / 2})
	}})
	o.watch(c)
	var b bytes.Buffer
	c.SetOut(&b)
	c.SetArgs([]string{"--json", "--watch", "--every", "100ms"})
	began := time.Now()
	if err := c.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"; got != want || time.Since(began) < 400*time.Millisecond {
		t.Errorf("%q after %s", got, time.Since(began))
	}
	c.SetArgs([]string{"--watch", "--every", "1ms"})
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "100ms") {
		t.Error(err)
	}
}

// Every command that is to have --watch is there.
func TestWatched(t *testing.T) {
	root := newRoot()
	for _, path := range watched {
		c, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || c.Flags().Lookup("watch") == nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
