package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"castpoint/agent"
)

// JSON writes data for programs.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Table writes rows of cells, aligned, and fitting the terminal that they are for.
func Table(w io.Writer, rows [][]string) error {
	clean := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			clean[i] = append(clean[i], cleanCell(cell))
		}
	}
	rows = fit(clean, WidthOf(w))
	// An empty row begins a table of its own.
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(row []string) bool { return len(row) == 0 })
		if n < 0 {
			n = len(rows)
		}
		if err := alignedRows(w, rows[:n]); err != nil {
			return err
		}
		if rows = rows[n:]; len(rows) > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
			rows = rows[1:]
		}
	}
	return nil
}

// alignedRows writes the rows of a table.
func alignedRows(w io.Writer, rows [][]string) error {
	var wide []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], cellWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		b.Reset()
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", wide[i]-cellWidth(cell)+tableGap))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// OrDash stands for what is not known.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// When is a time for tables.
func When(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

// YesNo is a setting as a word.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Meter shows bytes done on a terminal, and nothing elsewhere. clear takes the
// line away again.
func Meter(w io.Writer, what string) (progress func(done, total int64), clear func()) {
	f, ok := Of(w)
	if !ok {
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
			fmt.Fprintf(f, "\r\x1b[K%s: %3.0f%% of %s  %s", cleanCell(what), share, agent.Size(total), rate)
		}, func() {
			fmt.Fprint(f, "\r\x1b[K")
		}
}
