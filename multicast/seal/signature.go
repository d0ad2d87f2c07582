package seal

import (
	"crypto/ed25519"
	"slices"
)

// Sign puts the server's signature behind a beacon. It is of the header too: the number
// in it says which of two beacons is newer.
func Sign(key ed25519.PrivateKey, header, beacon []byte) []byte {
	return append(beacon, ed25519.Sign(key, slices.Concat(header, beacon))...)
}

// Signed says whether the server has made a beacon, and not another member.
func Signed(key ed25519.PublicKey, header, beacon []byte) bool {
	n := len(beacon) - ed25519.SignatureSize
	return n >= 0 && ed25519.Verify(key, slices.Concat(header, beacon[:n]), beacon[n:])
}
