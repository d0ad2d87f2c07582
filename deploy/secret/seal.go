package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/internal/atomicfile"
)

// FileKey is the key of the data folder that secrets in the database are sealed
// with: a copy of the database alone tells nobody anything.
const FileKey = "secrets.key"

// KeySize is the length of a key, in bytes.
const KeySize = 32

// sealer seals and opens secrets with AES-256-GCM.
type sealer struct{ aead cipher.AEAD }

// openKey reads the key of a data folder and makes it when there is none.
func openKey(folder string) (*sealer, error) {
	path := filepath.Join(folder, FileKey)
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, KeySize)
		_, _ = rand.Read(key) // never fails: see its documentation
		err = atomicfile.Write(path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("key of secret variables: %w", err)
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("key of secret variables: %s has %d bytes, not %d: put a copy of it back, or remove it and set the secrets again", path, len(key), KeySize)
	}
	return newSealer(key)
}

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

// seal seals a secret. place is where it belongs: it cannot be opened elsewhere.
func (s *sealer) seal(place, secret string) []byte {
	return s.aead.Seal(nil, nil, []byte(secret), []byte(place))
}

func (s *sealer) open(place string, sealed []byte) (string, error) {
	b, err := s.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return "", fmt.Errorf("secret of %s cannot be opened: it was sealed with another %s", place, FileKey)
	}
	return string(b), nil
}
