package seal

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"castpoint/multicast/wire"
)

// TestSignatureVector checks the vector of docs/protocol.md: the signature of a beacon.
func TestSignatureVector(t *testing.T) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	signer := ed25519.NewKeyFromSeed(seed)
	h := wire.Header{Type: wire.TypeBeacon, Epoch: 2, Session: 0xa1b2c3d4, Number: 258, Object: 0xcafef00d, Sent: 0xabcdef}
	b := wire.Beacon{State: wire.StateSending, Epoch: 2, Members: 4, ReportInterval: 20_000, Rate: 1e9}
	header, plain := h.Append(nil), b.Append(nil)
	beacon := Sign(signer, header, plain)
	const signature = "7d42e908a7e66a7ef8f9dd2c9697992d76f8e8ffbeed3be4024a02c972eb7c55" +
		"aac6436c64c0061be3ccb5cd87db51a9d6175d437c5ab0b7d771cc19c7a9d807"
	if got := fmt.Sprintf("%x", beacon[len(plain):]); got != signature {
		t.Errorf("the beacon has the signature %s, want %s", got, signature)
	}
	if key := signer.Public().(ed25519.PublicKey); !Signed(key, header, beacon) || Signed(key, header, plain) || Signed(key, h.Append(nil)[1:], beacon) {
		t.Error("a signature is not taken, or a missing or foreign one is")
	}
}
