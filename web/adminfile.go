package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/internal/atomicfile"
)

// fileAdmin is where a running server says how to reach its admin API.
const fileAdmin = "admin.json"

// AdminFile says how to reach the admin API of a running server. Whoever can
// read it may do everything.
type AdminFile struct {
	Address string `json:"address"` // host and port
	Token   string `json:"token"`
	PID     int    `json:"pid"`
	Pin     string `json:"pin,omitempty"` // of its certificate; "" for plain HTTP
}

// NewAdminToken makes the secret of an admin API.
func NewAdminToken() string {
	secret, _ := newSecret()
	return secret
}

// WriteAdminFile puts the file into the data folder; RemoveAdminFile takes it
// away.
func WriteAdminFile(data string, f AdminFile) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", fileAdmin, err)
	}
	return atomicfile.Write(filepath.Join(data, fileAdmin), append(b, '\n'))
}

// RemoveAdminFile takes the file away when the server stops.
func RemoveAdminFile(data string) error {
	err := os.Remove(filepath.Join(data, fileAdmin))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadAdminFile reads it; ok is false when no server has written one. A server
// that was killed leaves one behind.
func ReadAdminFile(data string) (f AdminFile, ok bool, err error) {
	path := filepath.Join(data, fileAdmin)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, fmt.Errorf("reach the running server: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, false, fmt.Errorf("reach the running server: %s: %w", path, err)
	}
	return f, true, nil
}
