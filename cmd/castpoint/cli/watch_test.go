package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"castpoint/cmd/castpoint/terminal"

	"github.com/spf13/cobra"
)

// --watch shows what has changed, and ends when it is told to, which is no failure.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := &Options{}
	n := 0
	c := o.AddJSON(&cobra.Command{Use: "list", RunE: func(cmd *cobra.Command, _ []string) error {
		if n++; n == 6 {
			cancel()
		}
		return terminal.JSON(cmd.OutOrStdout(), map[string]int{"n": n / 2})
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
