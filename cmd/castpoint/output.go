package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"castpoint/agent"
)

// printJSON writes data for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes rows of cells, aligned, and fitting the terminal that they are for.
func table(w io.Writer, rows [][]string) error {
	rows = fit(rows, widthOf(w))
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range bytes.Lines(b.Bytes()) {
		if _, err := fmt.Fprintf(w, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// orDash stands for what is not known.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// meter shows bytes done on a terminal, and nothing elsewhere. clear takes the
// line away again.
func meter(w io.Writer, what string) (progress func(done, total int64), clear func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	began := time.Now()
	return func(done, total int64) {
			share, rate := 0.0, ""
			if total > 0 {
				share = 100 * float64(done) / float64(total)
			}
			if s := time.Since(began).Seconds(); s > 0.5 {
				rate = agent.Size(int64(float64(done)/s)) + "/s"
			}
			fmt.Fprintf(w, "\r\x1b[K%s: %3.0f%% of %s  %s", what, share, agent.Size(total), rate)
		}, func() {
			fmt.Fprint(w, "\r\x1b[K")
		}
}
