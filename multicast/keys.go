package multicast

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"castpoint/multicast/wire"
)

// sealer is one AES-256-GCM key with its salt.
type sealer struct {
	aead cipher.AEAD
	salt [wire.SaltSize]byte
}

func newSealer(key, salt []byte) (*sealer, error) {
	if len(key) != wire.KeySize {
		return nil, fmt.Errorf("key of %d bytes, want %d", len(key), wire.KeySize)
	}
	if len(salt) != wire.SaltSize {
		return nil, fmt.Errorf("salt of %d bytes, want %d", len(salt), wire.SaltSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &sealer{}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	copy(s.salt[:], salt)
	return s, nil
}

// seal appends the sealed plaintext to header, whose clear part it authenticates.
func (s *sealer) seal(header, plaintext []byte, number uint64) []byte {
	var nonce [wire.NonceSize]byte
	wire.Nonce(&nonce, s.salt, number)
	return s.aead.Seal(header, nonce[:], plaintext, header[:len(header):len(header)])
}

// open appends the plaintext of sealed to dst. The bytes of dst's capacity are
// undefined when it fails.
func (s *sealer) open(dst, header, sealed []byte, number uint64) ([]byte, error) {
	var nonce [wire.NonceSize]byte
	wire.Nonce(&nonce, s.salt, number)
	return s.aead.Open(dst, nonce[:], sealed, header)
}

// memberSalt is the salt of member keys. Each member has a key of its own and
// counts its own reports, so the salt need not differ.
var memberSalt = [wire.SaltSize]byte{}

// newGroupKey makes the group key of an epoch.
func newGroupKey(epoch uint8) (Key, error) {
	k := Key{Epoch: epoch, Key: make([]byte, wire.KeySize), Salt: make([]byte, wire.SaltSize)}
	if _, err := rand.Read(k.Key); err != nil {
		return k, fmt.Errorf("make group key: %w", err)
	}
	if _, err := rand.Read(k.Salt); err != nil {
		return k, fmt.Errorf("make group key: %w", err)
	}
	return k, nil
}
