package seal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"castpoint/multicast/wire"
)

// vectorKey is the key of the vectors in docs/protocol.md: bytes 0 to 31, and the
// salt 40 41 42 43.
func vectorKey(name Cipher) Key {
	k := Key{Epoch: 2, Cipher: name, Salt: []byte{0x40, 0x41, 0x42, 0x43}}
	for i := range wire.KeySize {
		k.Key = append(k.Key, byte(i))
	}
	return k
}

// TestKeyVectors checks the vectors of docs/protocol.md: a beacon sealed with each
// cipher, and the key of the next epoch.
func TestKeyVectors(t *testing.T) {
	header := wire.Header{Type: wire.TypeBeacon, Epoch: 2, Session: 0xa1b2c3d4, Number: 258, Object: 0xcafef00d, Sent: 0x00abcdef}
	beacon := wire.Beacon{State: wire.StateSending, Epoch: 2, Members: 4, ReportInterval: 20000, Rate: 1e9}
	for name, want := range map[Cipher]string{
		AES256GCM: "8cf99841a0a3786a5852202e8fa46633fd39342b20180bdb28649a86bd9e218cd45f4707e97e42102fa0",
		ChaCha20:  "39aa9e7ab6a741a36f42b5b8e5d27c8e71cc61da007caa29921d5c56284ac9c9e34fd1dba5f6eec89d88",
	} {
		key, err := vectorKey(name).Use()
		if err != nil {
			t.Fatal(err)
		}
		sealed := key.Seal(header.Append(nil), beacon.Append(nil), 258)[wire.HeaderSize:]
		if got := hex.EncodeToString(sealed); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		next, err := key.Successor()
		if err != nil {
			t.Fatal(err)
		}
		const wantNext = "c4d860797cdf478be94e4f5efc1ee5d1aeabe938cd19aaf5d5bd9939a58c6f2b 1e63d3e0"
		if got := fmt.Sprintf("%x %x", next.Key.Key, next.Salt); got != wantNext || next.Epoch != 3 || next.Cipher != name {
			t.Errorf("key of the next epoch: %s, want %s", got, wantNext)
		}
	}
}

// A ring derives a key once, whatever number of datagrams claims to need it, and
// forgets those before the last.
func TestRing(t *testing.T) {
	first, err := NewGroupKey(254, AES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewRing([]Key{first.Key})
	if err != nil {
		t.Fatal(err)
	}
	datagram := func(key *GroupKey, epoch uint8, number wire.PacketNumber) error {
		h := wire.Header{Type: wire.TypeSymbol, Epoch: epoch, Number: number}
		clear := h.Append(nil)
		plain, err := ring.Open(nil, &h, clear, key.Seal(clear, []byte("symbol"), uint64(number))[len(clear):])
		if err == nil && string(plain) != "symbol" {
			t.Errorf("opened as %q", plain)
		}
		return err
	}
	stranger, err := NewGroupKey(0, AES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	if err := datagram(first, 254, 1); err != nil {
		t.Fatal(err)
	}
	if err := datagram(stranger, 255, 9); !errors.Is(err, ErrNoKey) {
		t.Errorf("forged, of the next epoch: %v", err)
	}
	derived := ring.next
	if err := datagram(stranger, 255, 10); !errors.Is(err, ErrNoKey) || derived == nil || ring.next != derived {
		t.Errorf("a second one: %v, the key was derived again: %v", err, ring.next != derived)
	}
	if err := datagram(stranger, 254, 11); err == nil || errors.Is(err, ErrNoKey) {
		t.Errorf("forged, of this epoch: %v", err)
	}
	keys := []*GroupKey{first}
	for range 3 {
		next, err := keys[len(keys)-1].Successor()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, next)
	}
	if err := datagram(keys[2], 0, 20); !errors.Is(err, ErrNoKey) {
		t.Errorf("two epochs on: %v", err)
	}
	for i, key := range keys[1:] {
		if err := datagram(key, key.Epoch, wire.PacketNumber(30+i)); err != nil {
			t.Errorf("epoch %d: %v", key.Epoch, err)
		}
	}
	if err := datagram(keys[2], 0, 21); err != nil {
		t.Errorf("overtaken, of the epoch before: %v", err)
	}
	if err := datagram(keys[1], 255, 22); !errors.Is(err, ErrNoKey) {
		t.Errorf("of the epoch before that: %v", err)
	}
}

func TestUnknownCipher(t *testing.T) {
	k := vectorKey("rot13")
	if _, err := NewRing([]Key{k}); err == nil {
		t.Error("a cipher that does not exist was accepted")
	}
	k = vectorKey(ChaCha20)
	k.Key = k.Key[1:]
	if _, err := NewRing([]Key{k}); err == nil {
		t.Error("a short key was accepted")
	}
}

// symbolSize is that of sessions.
const symbolSize = 1408

// BenchmarkSeal is what sealing alone costs.
func BenchmarkSeal(b *testing.B) {
	for _, name := range []Cipher{AES256GCM, ChaCha20} {
		b.Run(string(name), func(b *testing.B) {
			key, err := vectorKey(name).Use()
			if err != nil {
				b.Fatal(err)
			}
			out, in := make([]byte, wire.HeaderSize, 2048), make([]byte, symbolSize)
			b.SetBytes(symbolSize)
			n := uint64(0)
			for b.Loop() {
				n++
				key.Seal(out, in, n)
			}
		})
	}
}
