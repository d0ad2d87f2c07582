package target

import (
	"errors"
	"path/filepath"
	"testing"

	"castpoint/agent"
)

func TestTwoReceiversDoNotShareAFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	first, err := OpenFile(out, false)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := OpenFile(out, false); !errors.Is(err, agent.ErrRefused) {
		t.Error(err)
	}
}
