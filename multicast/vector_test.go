package multicast

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"castpoint/multicast/wire"
)

// TestVectors checks the vectors of docs/protocol.md that are not checked in
// multicast/wire.
func TestVectors(t *testing.T) {
	obj, _ := object(testBlock, 1)
	g, err := newGeometry([]Object{obj}, DefaultSymbolSize, DefaultRepairSymbols)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCode(&g)
	if err != nil {
		t.Fatal(err)
	}
	source, repair := make([]byte, g.k*g.symbolSize), make([]byte, g.m*g.symbolSize)
	for n := range source {
		source[n] = byte(n*7 + n/251)
	}
	if _, err := c.encode(nil, source, repair); err != nil {
		t.Fatal(err)
	}
	const want = "7b4fb1e21d4c7c467c96fe59b7d1ee08c50a339b09f3e8b626144f826bc1ac3c"
	if got := fmt.Sprintf("%x", sha256.Sum256(repair)); got != want {
		t.Errorf("repair symbols have SHA-256 %s, want %s", got, want)
	}

	runs, _ := wire.AppendRun(nil, wire.Run{Gap: 3, Count: 1, Deficit: 2})
	runs, _ = wire.AppendRun(runs, wire.Run{Gap: 0, Count: 300, Deficit: 128})
	if want := []byte{3, 0, 2, 0, 0xab, 2, 0x80}; !bytes.Equal(runs, want) {
		t.Errorf("runs are %x, want %x", runs, want)
	}

	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	signer := ed25519.NewKeyFromSeed(seed)
	h := wire.Header{Type: wire.TypeBeacon, Epoch: 2, Session: 0xa1b2c3d4, Number: 258, Object: 0xcafef00d, Sent: 0xabcdef}
	b := wire.Beacon{State: wire.StateSending, Epoch: 2, Members: 4, ReportInterval: 20_000, Rate: 1e9}
	header, plain := h.Append(nil), b.Append(nil)
	beacon := sign(signer, header, plain)
	const signature = "7d42e908a7e66a7ef8f9dd2c9697992d76f8e8ffbeed3be4024a02c972eb7c55" +
		"aac6436c64c0061be3ccb5cd87db51a9d6175d437c5ab0b7d771cc19c7a9d807"
	if got := fmt.Sprintf("%x", beacon[len(plain):]); got != signature {
		t.Errorf("the beacon has the signature %s, want %s", got, signature)
	}
	if key := signer.Public().(ed25519.PublicKey); !signed(key, header, beacon) || signed(key, header, plain) || signed(key, h.Append(nil)[1:], beacon) {
		t.Error("a signature is not taken, or a missing or foreign one is")
	}
}
