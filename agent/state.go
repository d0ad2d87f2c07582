package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stateFormat is the version of the state file.
const stateFormat = 1

// state is what a receive needs to go on after it was interrupted.
type state struct {
	Format  int    `json:"format"`
	Server  string `json:"server"`
	Pin     string `json:"pin"`
	Ticket  string `json:"ticket"`
	Content string `json:"content,omitempty"` // as it was asked for
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"` // bytes
}

// readState reads a state file. A missing one, or one that cannot be used, is
// nil: the receive then starts anew.
func readState(path string) (*state, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state of an earlier receive: %w", err)
	}
	s := &state{}
	if json.Unmarshal(b, s) != nil || s.Format != stateFormat || s.Ticket == "" {
		return nil, nil
	}
	return s, nil
}

// write puts the state into its file, readable by the owner only: it has the
// ticket in it.
func (s *state) write(path string) (err error) {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
