package seal

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
	AES256GCM Cipher = "aes-256-gcm"
	ChaCha20  Cipher = "chacha20-poly1305"
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

// Sealer is one key with its salt.
type Sealer struct {
	aead   cipher.AEAD
	salt   [wire.SaltSize]byte
	nonces sync.Pool // of *[wire.NonceSize]byte: one on the stack would be moved to the heap
}

// nonce takes room for a nonce and fills it in.
func (s *Sealer) nonce(number uint64) *[wire.NonceSize]byte {
	n, ok := s.nonces.Get().(*[wire.NonceSize]byte)
	if !ok {
		n = new([wire.NonceSize]byte)
	}
	wire.Nonce(n, s.salt, number)
	return n
}

// NewSealer makes a sealer of a key of 32 bytes and a salt of 4.
func NewSealer(name Cipher, key, salt []byte) (*Sealer, error) {
	if len(key) != wire.KeySize {
		return nil, fmt.Errorf("key of %d bytes, want %d", len(key), wire.KeySize)
	}
	if len(salt) != wire.SaltSize {
		return nil, fmt.Errorf("salt of %d bytes, want %d", len(salt), wire.SaltSize)
	}
	var aead cipher.AEAD
	var err error
	switch name {
	case AES256GCM:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	case ChaCha20:
		aead, err = chacha20poly1305.New(key)
	default:
		err = fmt.Errorf("cipher %q is not known here", name)
	}
	if err != nil {
		return nil, err
	}
	return With(aead, [wire.SaltSize]byte(salt)), nil
}

// With seals by what already has a key.
func With(aead cipher.AEAD, salt [wire.SaltSize]byte) *Sealer {
	return &Sealer{aead: aead, salt: salt}
}

// Seal appends the sealed plaintext to header, whose clear part it authenticates.
func (s *Sealer) Seal(header, plaintext []byte, number uint64) []byte {
	nonce := s.nonce(number)
	defer s.nonces.Put(nonce)
	return s.aead.Seal(header, nonce[:], plaintext, header[:len(header):len(header)])
}

// Open appends the plaintext of sealed to dst. The bytes of dst's capacity are
// undefined when it fails.
func (s *Sealer) Open(dst, header, sealed []byte, number uint64) ([]byte, error) {
	nonce := s.nonce(number)
	defer s.nonces.Put(nonce)
	return s.aead.Open(dst, nonce[:], sealed, header)
}

// NewReportSealer is for reports, which are few: their cipher is always the same.
// Each member has a key of its own and counts its own reports, so the salt need not
// differ.
func NewReportSealer(key []byte) (*Sealer, error) {
	return NewSealer(AES256GCM, key, make([]byte, wire.SaltSize))
}
