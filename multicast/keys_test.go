package multicast

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
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
		CipherAES256GCM: "8cf99841a0a3786a5852202e8fa46633fd39342b20180bdb28649a86bd9e218cd45f4707e97e42102fa0",
		CipherChaCha20:  "39aa9e7ab6a741a36f42b5b8e5d27c8e71cc61da007caa29921d5c56284ac9c9e34fd1dba5f6eec89d88",
	} {
		key, err := vectorKey(name).use()
		if err != nil {
			t.Fatal(err)
		}
		sealed := key.seal(header.Append(nil), beacon.Append(nil), 258)[wire.HeaderSize:]
		if got := hex.EncodeToString(sealed); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		next, err := key.successor()
		if err != nil {
			t.Fatal(err)
		}
		const wantNext = "c4d860797cdf478be94e4f5efc1ee5d1aeabe938cd19aaf5d5bd9939a58c6f2b 1e63d3e0"
		if got := fmt.Sprintf("%x %x", next.Key.Key, next.Salt); got != wantNext || next.Epoch != 3 || next.Cipher != name {
			t.Errorf("key of the next epoch: %s, want %s", got, wantNext)
		}
	}
}

// Keys change with volume under the members, who are told nothing: over more epochs
// than there are numbers for, with loss, disorder and members that come late.
func TestKeysChangeWithVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const volume = 150
		l := newLab(t, 11, 330*testBlock, func(c *Config) { c.MinMembers = 2 })
		l.s.mu.Lock()
		l.s.keys.volume = volume
		l.s.mu.Unlock()
		link := simnet.Link{Loss: 0.05, Duplicate: 0.02, Reorder: 0.02, ReorderBy: 500 * time.Microsecond, Delay: time.Millisecond}
		a, b := l.join("a", link, link, nil), l.join("b", link, link, nil)
		time.Sleep(300 * time.Millisecond)
		late := l.join("late", link, link, nil)
		for _, rc := range []*receiver{a, b, late} {
			l.verify(rc)
			if n := rc.r.Stats().Forged; n > 0 {
				t.Errorf("member %s met %d datagrams that did not open", rc.name, n)
			}
		}
		l.close()
		if n := l.s.number.Load() / volume; n < 280 {
			t.Errorf("%d epochs: not once around", n)
		}
	})
}

// Who is removed has no key for what follows, though it could derive the keys of all
// epochs that would have followed.
func TestRemovedMemberCannotDerive(t *testing.T) {
	s := newLabSession(t, Config{})
	_, m, keys, err := s.Admit(Candidate{Name: "removed"})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := newKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kick(m.ID); err != nil {
		t.Fatal(err)
	}
	for _, key := range s.keys.offered {
		h := wire.Header{Type: wire.TypeBeacon, Epoch: key.Epoch, Number: 77}
		clear := h.Append(nil)
		sealed := key.seal(clear, []byte("beacon"), 77)[len(clear):]
		if _, err := ring.open(nil, &h, clear, sealed); !errors.Is(err, errNoKey) {
			t.Errorf("epoch %d after the removal: %v", key.Epoch, err)
		}
	}
}

func newLabSession(t *testing.T, cfg Config) *Session {
	t.Helper()
	o, data := object(3*testBlock, 1)
	cfg.ID, cfg.Objects, cfg.Sources, cfg.Conn = 1, []Object{o}, sourcesOf(data), simnet.New(1).Sender()
	cfg.Group = testGroup
	s, err := NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A keyring derives a key once, whatever number of datagrams claims to need it, and
// forgets those before the last.
func TestKeyring(t *testing.T) {
	first, err := newGroupKey(254, CipherAES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := newKeyring([]Key{first.Key})
	if err != nil {
		t.Fatal(err)
	}
	datagram := func(key *groupKey, epoch uint8, number wire.PacketNumber) error {
		h := wire.Header{Type: wire.TypeSymbol, Epoch: epoch, Number: number}
		clear := h.Append(nil)
		plain, err := ring.open(nil, &h, clear, key.seal(clear, []byte("symbol"), uint64(number))[len(clear):])
		if err == nil && string(plain) != "symbol" {
			t.Errorf("opened as %q", plain)
		}
		return err
	}
	stranger, err := newGroupKey(0, CipherAES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	if err := datagram(first, 254, 1); err != nil {
		t.Fatal(err)
	}
	if err := datagram(stranger, 255, 9); !errors.Is(err, errNoKey) {
		t.Errorf("forged, of the next epoch: %v", err)
	}
	derived := ring.next
	if err := datagram(stranger, 255, 10); !errors.Is(err, errNoKey) || derived == nil || ring.next != derived {
		t.Errorf("a second one: %v, the key was derived again: %v", err, ring.next != derived)
	}
	if err := datagram(stranger, 254, 11); err == nil || errors.Is(err, errNoKey) {
		t.Errorf("forged, of this epoch: %v", err)
	}
	keys := []*groupKey{first}
	for range 3 {
		next, err := keys[len(keys)-1].successor()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, next)
	}
	if err := datagram(keys[2], 0, 20); !errors.Is(err, errNoKey) {
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
	if err := datagram(keys[1], 255, 22); !errors.Is(err, errNoKey) {
		t.Errorf("of the epoch before that: %v", err)
	}
}

// The cipher of a session is that of its weakest member at the start; who comes later
// takes what there is.
func TestCipherIsChosenAtTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		config Cipher
		aes    []bool // of the members before the start
		want   Cipher
	}{
		"all have AES":  {"", []bool{true, true}, CipherAES256GCM},
		"one has none":  {"", []bool{true, false}, CipherChaCha20},
		"set to AES":    {CipherAES256GCM, []bool{false, false}, CipherAES256GCM},
		"set to ChaCha": {CipherChaCha20, []bool{true, true}, CipherChaCha20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 12, 60*testBlock, func(cfg *Config) {
					cfg.MinMembers, cfg.Cipher, cfg.MaxRate = 3, c.config, 100e6
				})
				l.s.mu.Lock()
				l.s.keys.volume = 2000
				l.s.mu.Unlock()
				var all []*receiver
				for i, aes := range c.aes {
					l.noAES = !aes
					all = append(all, l.join(fmt.Sprint(i), simnet.Link{}, simnet.Link{}, nil))
				}
				time.Sleep(500 * time.Millisecond) // beacons of a session that waits
				l.noAES = false
				all = append(all, l.join("starts it", simnet.Link{}, simnet.Link{}, nil))
				time.Sleep(300 * time.Millisecond)
				l.s.mu.Lock()
				got, offered := l.s.keys.current.Cipher, len(l.s.keys.offered)
				l.s.mu.Unlock()
				if got != c.want || offered != 1 {
					t.Errorf("the session uses %s, want %s", got, c.want)
				}
				l.noAES = true
				all = append(all, l.join("late", simnet.Link{}, simnet.Link{}, nil))
				for _, rc := range all {
					l.verify(rc)
				}
				l.close()
			})
		})
	}
}

// A removal while the session waits makes new keys for all ciphers.
func TestRemovalWhileWaiting(t *testing.T) {
	s := newLabSession(t, Config{MinMembers: 5})
	_, m, before, err := s.Admit(Candidate{Name: "removed"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kick(m.ID); err != nil {
		t.Fatal(err)
	}
	_, _, after, err := s.Admit(Candidate{Name: "stays"})
	if err != nil || len(before) != 2 || len(after) != 2 {
		t.Fatal(len(before), len(after), err)
	}
	for i := range after {
		if after[i].Cipher != before[i].Cipher || after[i].Epoch == before[i].Epoch || bytes.Equal(after[i].Key, before[i].Key) {
			t.Errorf("before %+v, after %+v", before[i], after[i])
		}
	}
}

func TestUnknownCipher(t *testing.T) {
	k := vectorKey("rot13")
	if _, err := newKeyring([]Key{k}); err == nil {
		t.Error("a cipher that does not exist was accepted")
	}
	k = vectorKey(CipherChaCha20)
	k.Key = k.Key[1:]
	if _, err := newKeyring([]Key{k}); err == nil {
		t.Error("a short key was accepted")
	}
}

// BenchmarkSeal is what sealing alone costs.
func BenchmarkSeal(b *testing.B) {
	for _, name := range []Cipher{CipherAES256GCM, CipherChaCha20} {
		b.Run(string(name), func(b *testing.B) {
			key, err := vectorKey(name).use()
			if err != nil {
				b.Fatal(err)
			}
			out, in := make([]byte, wire.HeaderSize, 2048), make([]byte, DefaultSymbolSize)
			b.SetBytes(DefaultSymbolSize)
			n := uint64(0)
			for b.Loop() {
				n++
				key.seal(out, in, n)
			}
		})
	}
}
