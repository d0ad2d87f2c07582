package format

import (
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"encoding/hex"
)

// Hash is the SHA-1 that names a blob. The zero Hash stands for a stream of no
// bytes, which has no blob.
type Hash [sha1.Size]byte

// String gives 40 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// CheckHash compares the SHA-1 that a content has with the one it must have; what is
// its name in the message. Errors: ErrCorrupt.
func CheckHash(what string, have, want Hash) error {
	if have != want {
		return Corrupt("%s: the content has SHA-1 %v, the WIM says %v", what, have, want)
	}
	return nil
}
