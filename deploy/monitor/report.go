package monitor

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteCSV writes a deployment's devices as a table.
func WriteCSV(w io.Writer, list []Target) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"device", "mac", "state", "percent", "step", "steps", "step name", "exit code", "message", "sequence", "revision", "started", "ended", "seconds", "run"})
	for i := range list {
		t := &list[i]
		row := []string{safeCell(t.Label), t.MAC, t.State, strconv.FormatFloat(t.Percent, 'f', 0, 64)}
		if r := t.Run; r == nil {
			row = append(row, make([]string, 11)...)
		} else {
			code, ended, seconds := "", "", ""
			if r.Step.ExitCode != nil {
				code = strconv.Itoa(*r.Step.ExitCode)
			}
			if !r.Ended.IsZero() {
				ended, seconds = r.Ended.Format(time.RFC3339), fmt.Sprintf("%.0f", r.Ended.Sub(r.Started).Seconds())
			}
			message := r.Message
			if message == "" {
				message = r.Step.Message
			}
			row = append(row, strconv.Itoa(r.Step.Number), strconv.Itoa(r.Total), safeCell(r.Step.Name), code, safeCell(message),
				r.Sequence, strconv.Itoa(r.Revision), r.Started.Format(time.RFC3339), ended, seconds, r.ID)
		}
		_ = out.Write(row) // Flush and Error say what went wrong
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// safeCell keeps office programs from taking a machine's text for a formula.
func safeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
