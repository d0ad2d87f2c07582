package receiver

import (
	"crypto/aes"
	"crypto/cipher"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

// countingAEAD counts what is opened: the work that a datagram costs.
type countingAEAD struct {
	cipher.AEAD
	opened int
}

func (c *countingAEAD) Open(dst, nonce, ciphertext, extra []byte) ([]byte, error) {
	c.opened++
	return c.AEAD.Open(dst, nonce, ciphertext, extra)
}

// victim is a member that is fed by hand, and what its session has sent.
type victim struct {
	r     *Receiver
	aead  *countingAEAD
	key   *seal.GroupKey
	obj   block.Object
	data  []byte
	count uint64
}

func newVictim(t testing.TB) *victim {
	t.Helper()
	v := &victim{}
	v.obj, v.data = objects.New(20*objects.BlockSize, 1)
	var err error
	if v.key, err = seal.NewGroupKey(3, seal.AES256GCM); err != nil {
		t.Fatal(err)
	}
	asm, err := assembly.New([]block.Object{v.obj}, []assembly.Target{&objects.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	v.r, err = New(Config{
		Admission: multicast.Admission{Objects: []block.Object{v.obj}, Keys: []seal.Key{v.key.Key}, Member: multicast.Member{ID: 1, Key: make([]byte, wire.KeySize)},
			Session: multicast.Params{ID: 7, Code: multicast.CodeLeopard8, SourceSymbols: 128, RepairSymbols: block.DefaultRepairSymbols, SymbolSize: block.DefaultSymbolSize}},
		Assembly: asm, Memory: 16 * objects.BlockSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(v.key.Key.Key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	v.aead = &countingAEAD{AEAD: aead}
	v.r.keys = &seal.Ring{}
	v.r.keys.Add(&seal.GroupKey{Key: v.key.Key, Sealer: seal.With(v.aead, [wire.SaltSize]byte(v.key.Salt))})
	return v
}

// symbol is an authentic datagram.
func (v *victim) symbol(b, symbol int) []byte {
	v.count++
	h := wire.Header{Type: wire.TypeSymbol, Epoch: 3, Symbol: uint16(symbol), Session: 7, Number: wire.PacketNumber(v.count), Block: uint32(b), Object: v.r.g.Tag}
	at := b*objects.BlockSize + symbol*block.DefaultSymbolSize
	return v.key.Seal(h.Append(nil), v.data[at:at+block.DefaultSymbolSize], v.count)
}

func (v *victim) beacon(state wire.State) []byte {
	v.count++
	h := wire.Header{Type: wire.TypeBeacon, Epoch: 3, Session: 7, Number: wire.PacketNumber(v.count), Object: v.r.g.Tag}
	b := wire.Beacon{State: state, Epoch: 3, Members: 2, ReportInterval: 5000}
	return v.key.Seal(h.Append(nil), b.Append(nil), v.count)
}

// attack is a kind of hostile datagram: the next one, and how many openings each
// may cost.
type attack struct {
	name  string
	next  func(i int) []byte
	opens int
}

// attacks are what somebody on the wire can send, made from what he has recorded.
// They are made beforehand, so that nothing but the member's work is measured.
func (v *victim) attacks() []attack {
	rng := rand.New(rand.NewPCG(1, 9))
	recorded := make([][]byte, 64)
	for i := range recorded {
		recorded[i] = v.symbol(2, i)
		v.r.datagram(recorded[i], simnet.Source, time.Now())
	}
	beacon := v.beacon(wire.StateSending)
	v.r.datagram(beacon, simnet.Source, time.Now())
	made := func(change func(i int, d []byte) []byte) func(int) []byte {
		list := make([][]byte, 256)
		for i := range list {
			list[i] = change(i, slices.Clone(recorded[i%len(recorded)]))
		}
		return func(i int) []byte { return list[i%len(list)] }
	}
	noise := made(func(_ int, d []byte) []byte {
		for i := range d {
			d[i] = byte(rng.Uint32())
		}
		return d
	})
	set := func(at int, b ...byte) func(int) []byte {
		return made(func(_ int, d []byte) []byte { copy(d[at:], b); return d })
	}
	bad := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	return []attack{
		{"noise", noise, 0},
		{"another session", set(4, 0, 0, 0, 9), 0},
		{"another object", set(20, 1, 2, 3, 4), 0},
		{"another version", set(0, 0x21), 0},
		{"a report", set(0, 0x13), 0},
		{"a probe", set(0, 0x14), 0},
		{"an epoch without key", set(1, 77), 0},
		{"a block that does not exist", set(16, 0xff, 0xff, 0xff, 0xff), 0},
		{"a symbol that does not exist", set(2, 0xff, 0xff), 0},
		{"cut short", made(func(i int, d []byte) []byte { return d[:i*5] }), 0},
		{"too long", made(func(_ int, d []byte) []byte { return append(d, make([]byte, 7000)...) }), 0},
		{"a beacon as long as a packet can be", made(func(_ int, d []byte) []byte {
			d[0] = 0x12
			return append(d, make([]byte, 60_000)...)
		}), 0},
		{"the next epoch", set(1, 4), 1},
		{"forged, of a block that is being put together", made(func(_ int, d []byte) []byte { d[3] += 64; return bad(d) }), 1},
		{"forged, of blocks that were never seen", made(func(i int, d []byte) []byte { d[19] = byte(3 + i%17); return bad(d) }), 1},
		{"a forged beacon", made(func(_ int, d []byte) []byte { d[0] = 0x12; return bad(d[:80]) }), 1},
		{"a number from the far future", set(8, 0x7f, 0xff), 1},
		{"repeated", made(func(_ int, d []byte) []byte { return d }), 1},
		{"a repeated beacon", func(int) []byte { return beacon }, 1},
	}
}

// TestHostileDatagramsCostNothing feeds a member each kind of hostile datagram:
// none makes it allocate or hold memory, and only those that pass for the session's
// cost an opening.
func TestHostileDatagramsCostNothing(t *testing.T) {
	v := newVictim(t)
	all := v.attacks()
	now := time.Now()
	before := v.r.stats
	held, free, received, window := len(v.r.blocks), len(v.r.free), v.r.received, v.r.window
	// What is made at the first datagram of a kind is not made again.
	for _, a := range all {
		for i := range 256 {
			v.r.datagram(a.next(i), simnet.Source, now)
		}
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			const runs = 2000
			i := 0
			v.aead.opened = 0
			// AllocsPerRun calls once more, to warm up. The race detector makes pools forget.
			if n := testing.AllocsPerRun(runs, func() { v.r.datagram(a.next(i), simnet.Source, now); i++ }); n > 0 && !raceDetector {
				t.Errorf("%v allocations for a datagram", n)
			}
			if v.aead.opened > (runs+1)*a.opens {
				t.Errorf("%d openings for %d datagrams, want at most %d each", v.aead.opened, runs+1, a.opens)
			}
		})
	}
	if len(v.r.blocks) != held || len(v.r.free) != free {
		t.Errorf("%d blocks are held and %d places free, it was %d and %d", len(v.r.blocks), len(v.r.free), held, free)
	}
	if v.r.received != received || v.r.window != window || v.r.stats.Datagrams != before.Datagrams {
		t.Error("hostile datagrams count as received")
	}
	if v.r.stats.Foreign == before.Foreign || v.r.stats.Forged == before.Forged || v.r.stats.Duplicates == before.Duplicates {
		t.Errorf("hostile datagrams are not counted: %+v", v.r.stats)
	}
}

// TestOldBeacon: a beacon that somebody recorded does not turn the clock back.
func TestOldBeacon(t *testing.T) {
	v := newVictim(t)
	old, last := v.beacon(wire.StateWaiting), v.beacon(wire.StateSending)
	for _, d := range [][]byte{old, last, old} {
		v.r.datagram(d, simnet.Source, time.Now())
	}
	if v.r.beacon.State != wire.StateSending {
		t.Errorf("after an old beacon came again the session is %q", v.r.beacon.State)
	}
}

// BenchmarkHostile is how many hostile datagrams a member looks at in a second.
func BenchmarkHostile(b *testing.B) {
	v := newVictim(b)
	now := time.Now()
	for _, a := range v.attacks() {
		b.Run(a.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				v.r.datagram(a.next(i), simnet.Source, now)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}
