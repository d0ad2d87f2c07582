package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompletion: a shell is offered what there is.
func TestCompletion(t *testing.T) {
	data := t.TempDir()
	do := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"--data", data}, args...), &out, &errs); code != 0 {
			t.Fatalf("%v: %d %s", args, code, &errs)
		}
		return out.String()
	}
	do("device", "add", "--name", "pc-17", "--mac", "52:54:00:12:34:56")
	do("device", "add", "--name", "printer", "--mac", "52:54:00:12:34:57")
	for line, want := range map[string]string{
		"device show pc":   "pc-17\tknown 52:54:00:12:34:56\n:4",
		"device approve p": "pc-17\tknown 52:54:00:12:34:56\nprinter\tknown 52:54:00:12:34:57\n:4",
		"device show none": ":4",
		"content show x":   ":4",
		"log level dhcp w": "debug\ninfo\nwarn",
	} {
		words := strings.Split(line, " ")
		got := do(append([]string{"__complete"}, words...)...)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
