package sender

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

// Keys change with volume under the members, who are told nothing: over more epochs
// than there are numbers for, with loss, disorder and members that come late.
func TestKeysChangeWithVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const volume = 150
		l := newLab(t, 11, 330*objects.BlockSize, func(c *Config) { c.MinMembers = 2 })
		l.s.mu.Lock()
		l.s.keys.Volume = volume
		l.s.mu.Unlock()
		link := simnet.Link{Loss: 0.05, Duplicate: 0.02, Reorder: 0.02, ReorderBy: 500 * time.Microsecond, Delay: time.Millisecond}
		a, b := l.join("a", link, link, nil), l.join("b", link, link, nil)
		time.Sleep(300 * time.Millisecond)
		late := l.join("late", link, link, nil)
		for _, rc := range []*machine{a, b, late} {
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
	ring, err := seal.NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kick(m.ID); err != nil {
		t.Fatal(err)
	}
	for _, k := range s.keys.Offered() {
		key, err := k.Use()
		if err != nil {
			t.Fatal(err)
		}
		h := wire.Header{Type: wire.TypeBeacon, Epoch: key.Epoch, Number: 77}
		clear := h.Append(nil)
		sealed := key.Seal(clear, []byte("beacon"), 77)[len(clear):]
		if _, err := ring.Open(nil, &h, clear, sealed); !errors.Is(err, seal.ErrNoKey) {
			t.Errorf("epoch %d after the removal: %v", key.Epoch, err)
		}
	}
}

func newLabSession(t *testing.T, cfg Config) *Session {
	t.Helper()
	o, data := objects.New(3*objects.BlockSize, 1)
	cfg.ID, cfg.Objects, cfg.Sources, cfg.Conn = 1, []block.Object{o}, sourcesOf(data), simnet.New(1).Sender()
	cfg.Group = testGroup
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The cipher of a session is that of its weakest member at the start; who comes later
// takes what there is.
func TestCipherIsChosenAtTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		config seal.Cipher
		aes    []bool // of the members before the start
		want   seal.Cipher
	}{
		"all have AES":  {"", []bool{true, true}, seal.AES256GCM},
		"one has none":  {"", []bool{true, false}, seal.ChaCha20},
		"set to AES":    {seal.AES256GCM, []bool{false, false}, seal.AES256GCM},
		"set to ChaCha": {seal.ChaCha20, []bool{true, true}, seal.ChaCha20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 12, 60*objects.BlockSize, func(cfg *Config) {
					cfg.MinMembers, cfg.Cipher, cfg.MaxRate = 3, c.config, 100e6
				})
				l.s.mu.Lock()
				l.s.keys.Volume = 2000
				l.s.mu.Unlock()
				var all []*machine
				for i, aes := range c.aes {
					l.noAES = !aes
					all = append(all, l.join(fmt.Sprint(i), simnet.Link{}, simnet.Link{}, nil))
				}
				time.Sleep(500 * time.Millisecond) // beacons of a session that waits
				l.noAES = false
				all = append(all, l.join("starts it", simnet.Link{}, simnet.Link{}, nil))
				time.Sleep(300 * time.Millisecond)
				l.s.mu.Lock()
				got, offered := l.s.keys.Current().Cipher, len(l.s.keys.Offered())
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
