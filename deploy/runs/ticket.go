package runs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// NewTicket makes a ticket, and the hash that is kept of it.
func NewTicket() (secret, hash string) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see its documentation
	secret = hex.EncodeToString(b[:])
	return secret, HashTicket(secret)
}

// HashTicket needs no salt and no slow hash: what it hashes is random.
func HashTicket(secret string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(secret))))
	return hex.EncodeToString(sum[:])
}
