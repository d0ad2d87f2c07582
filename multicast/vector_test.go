package multicast

import (
	"bytes"
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
}
