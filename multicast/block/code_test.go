package block

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

const testBlock = 128 * DefaultSymbolSize

// TestCodeVector checks the vector of docs/protocol.md: the repair symbols of a block.
func TestCodeVector(t *testing.T) {
	obj := Object{Size: testBlock, BlockSize: testBlock}
	g, err := NewGeometry([]Object{obj}, DefaultSymbolSize, DefaultRepairSymbols)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCode(&g)
	if err != nil {
		t.Fatal(err)
	}
	source, repair := make([]byte, g.K*g.SymbolSize), make([]byte, g.M*g.SymbolSize)
	for n := range source {
		source[n] = byte(n*7 + n/251)
	}
	if _, err := c.Encode(nil, source, repair); err != nil {
		t.Fatal(err)
	}
	const want = "7b4fb1e21d4c7c467c96fe59b7d1ee08c50a339b09f3e8b626144f826bc1ac3c"
	if got := fmt.Sprintf("%x", sha256.Sum256(repair)); got != want {
		t.Errorf("repair symbols have SHA-256 %s, want %s", got, want)
	}
}

func TestCodeRebuilds(t *testing.T) {
	obj := Object{Size: testBlock, BlockSize: testBlock}
	g, err := NewGeometry([]Object{obj}, DefaultSymbolSize, DefaultRepairSymbols)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCode(&g)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	source, repair := make([]byte, g.K*g.SymbolSize), make([]byte, g.M*g.SymbolSize)
	for i := range source {
		source[i] = byte(rng.Uint32())
	}
	if _, err := c.Encode(nil, source, repair); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []int{0, 1, 7, 64} {
		var have Symbols
		got := append([]byte(nil), source...)
		gone := rng.Perm(g.K)[:lost]
		for i := range g.K {
			have.Add(i)
		}
		for _, i := range gone {
			have[i>>6] &^= 1 << (i & 63)
			clear(got[i*g.SymbolSize : (i+1)*g.SymbolSize])
		}
		for _, i := range rng.Perm(g.M)[:lost] {
			have.Add(g.K + i)
		}
		if _, err := c.Decode(nil, got, append([]byte(nil), repair...), &have); err != nil {
			t.Fatalf("%d lost: %v", lost, err)
		}
		if !bytes.Equal(got, source) {
			t.Errorf("%d lost: rebuilt block differs", lost)
		}
	}
}
