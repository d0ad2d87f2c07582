package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"castpoint/internal/atomicfile"
)

// StateFormat is the version of the state file.
const StateFormat = 1

// State is what a receive needs to go on after it was interrupted.
type State struct {
	Format  int    `json:"format"`
	Server  string `json:"server"`
	Pin     string `json:"pin"`
	Ticket  string `json:"ticket"`
	Content string `json:"content,omitempty"` // as it was asked for
	Folder  bool   `json:"folder,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of a content that is one file
	Size    int64  `json:"size"`             // bytes
}

// ReadState reads a state file. A missing one, or one that cannot be used, is
// nil: the receive then starts anew.
func ReadState(path string) (*State, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state of an earlier receive: %w", err)
	}
	s := &State{}
	if json.Unmarshal(b, s) != nil || s.Format != StateFormat || s.Ticket == "" {
		return nil, nil
	}
	return s, nil
}

// Write puts the state into its file, readable by the owner only: it has the
// ticket in it.
func (s *State) Write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := atomicfile.Write(path, append(b, '\n')); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
