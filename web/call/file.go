package call

import (
	"crypto/rand"
	"encoding/hex"
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

// File says how to reach the admin API of a running server. Whoever can
// read it may do everything.
type File struct {
	Address string `json:"address"` // host and port
	Token   string `json:"token"`
	PID     int    `json:"pid"`
	Pin     string `json:"pin,omitempty"` // of its certificate; "" for plain HTTP
}

// NewToken makes the secret that the file shows: 128 random bits in hexadecimal.
func NewToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// WriteFile puts the file into the data folder; RemoveFile takes it
// away.
func WriteFile(data string, f File) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", fileAdmin, err)
	}
	return atomicfile.Write(filepath.Join(data, fileAdmin), append(b, '\n'))
}

// RemoveFile takes the file away when the server stops.
func RemoveFile(data string) error {
	err := os.Remove(filepath.Join(data, fileAdmin))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadFile reads it; ok is false when no server has written one. A server
// that was killed leaves one behind.
func ReadFile(data string) (f File, ok bool, err error) {
	path := filepath.Join(data, fileAdmin)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return f, false, fmt.Errorf("reach the running server: %w: run it as root, as in sudo castpoint, or work on the server by --server and --token-file", err)
	}
	if err != nil {
		return f, false, fmt.Errorf("reach the running server: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, false, fmt.Errorf("reach the running server: %s: %w", path, err)
	}
	return f, true, nil
}
