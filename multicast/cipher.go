package multicast

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"

	"castpoint/multicast/wire"
)

// Cipher names what seals a session's datagrams.
type Cipher string

// The ciphers. Both have keys of 32 bytes, nonces of 12 and tags of 16.
const (
	CipherAES256GCM Cipher = "aes-256-gcm"
	CipherChaCha20  Cipher = "chacha20-poly1305"
)

// HasAES reports whether this machine's processor has the instructions that make AES
// the faster cipher. Without them ChaCha20-Poly1305 is several times as fast.
func HasAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	}
	return false
}

// sealer is one key with its salt.
type sealer struct {
	aead   cipher.AEAD
	salt   [wire.SaltSize]byte
	nonces sync.Pool // of *[wire.NonceSize]byte: one on the stack would be moved to the heap
}

// nonce takes room for a nonce and fills it in.
func (s *sealer) nonce(number uint64) *[wire.NonceSize]byte {
	n, ok := s.nonces.Get().(*[wire.NonceSize]byte)
	if !ok {
		n = new([wire.NonceSize]byte)
	}
	wire.Nonce(n, s.salt, number)
	return n
}

func newSealer(name Cipher, key, salt []byte) (*sealer, error) {
	if len(key) != wire.KeySize {
		return nil, fmt.Errorf("key of %d bytes, want %d", len(key), wire.KeySize)
	}
	if len(salt) != wire.SaltSize {
		return nil, fmt.Errorf("salt of %d bytes, want %d", len(salt), wire.SaltSize)
	}
	s := &sealer{salt: [wire.SaltSize]byte(salt)}
	var err error
	switch name {
	case CipherAES256GCM:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			s.aead, err = cipher.NewGCM(block)
		}
	case CipherChaCha20:
		s.aead, err = chacha20poly1305.New(key)
	default:
		err = fmt.Errorf("cipher %q is not known here", name)
	}
	return s, err
}

// seal appends the sealed plaintext to header, whose clear part it authenticates.
func (s *sealer) seal(header, plaintext []byte, number uint64) []byte {
	nonce := s.nonce(number)
	defer s.nonces.Put(nonce)
	return s.aead.Seal(header, nonce[:], plaintext, header[:len(header):len(header)])
}

// open appends the plaintext of sealed to dst. The bytes of dst's capacity are
// undefined when it fails.
func (s *sealer) open(dst, header, sealed []byte, number uint64) ([]byte, error) {
	nonce := s.nonce(number)
	defer s.nonces.Put(nonce)
	return s.aead.Open(dst, nonce[:], sealed, header)
}

// newMemberSealer is for reports, which are few: their cipher is always the same.
// Each member has a key of its own and counts its own reports, so the salt need not
// differ.
func newMemberSealer(key []byte) (*sealer, error) {
	return newSealer(CipherAES256GCM, key, make([]byte, wire.SaltSize))
}
