package receiver

import (
	"encoding/binary"
	"encoding/json"
	"strings"
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

// anySize is a target without an end.
type anySize struct{}

func (anySize) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (anySize) ReadAt(p []byte, _ int64) (int, error)  { clear(p); return len(p), nil }
func (anySize) Sync() error                            { return nil }

// FuzzAdmission: what a server says is used as it is, or refused; sizes cannot make
// a member take memory that the answer itself does not have.
func FuzzAdmission(f *testing.F) {
	obj, _ := objects.New(2*objects.BlockSize+5, 1)
	obj.SHA256 = strings.Repeat("ab", 32)
	good, err := json.Marshal(multicast.Admission{Objects: []block.Object{obj}, Files: []multicast.File{{Name: "a"}}, Keys: []seal.Key{{Epoch: 3, Cipher: seal.AES256GCM, Key: make([]byte, 32), Salt: make([]byte, 4)}},
		Member:  multicast.Member{ID: 1, Key: make([]byte, wire.KeySize)},
		Session: multicast.Params{ID: 7, Code: multicast.CodeLeopard8, SourceSymbols: 128, RepairSymbols: block.DefaultRepairSymbols, SymbolSize: block.DefaultSymbolSize}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `"size":`, `"size":99999999999`, 1)))
	f.Add([]byte(strings.Replace(string(good), `"symbol_size":1408`, `"symbol_size":1`, 1)))
	f.Add([]byte(`{"folder":true,"objects":[],"files":[{"name":"a","object":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var adm multicast.Admission
		if json.Unmarshal(b, &adm) != nil || adm.Complete() != nil {
			return
		}
		targets := make([]assembly.Target, len(adm.Objects))
		for i := range targets {
			targets[i] = anySize{}
		}
		for _, file := range adm.Files {
			_ = adm.Objects[file.Object]
		}
		asm, err := assembly.New(adm.Objects, targets)
		if err != nil {
			return
		}
		if r, err := New(Config{Admission: adm, Assembly: asm, Memory: 1}); err == nil {
			r.datagram(b, simnet.Source, time.Now())
		}
	})
}

// FuzzMember: a rogue member has the group key and seals what it likes, source and
// repair symbols among them. Others never take a wrong block for a right one, and take
// the right one that comes after it.
func FuzzMember(f *testing.F) {
	beacon, strange := wire.Beacon{State: wire.StateSending, Epoch: 3, Members: 2, ReportInterval: 5000}, wire.Beacon{State: 200, Epoch: 9}
	f.Add(uint8(wire.TypeSymbol), uint16(3), uint32(2), uint64(5), []byte("short"))
	f.Add(uint8(wire.TypeSymbol), uint16(0xffff), uint32(0xffffffff), uint64(1<<63), make([]byte, block.DefaultSymbolSize))
	f.Add(uint8(wire.TypeSymbol), uint16(5), uint32(19), uint64(5), make([]byte, block.DefaultSymbolSize-4))
	f.Add(uint8(wire.TypeBeacon), uint16(0), uint32(0), uint64(9), beacon.Append(nil))
	f.Add(uint8(wire.TypeBeacon), uint16(0), uint32(0), uint64(9), strange.Append(nil))
	f.Fuzz(func(t *testing.T, kind uint8, symbol uint16, at uint32, number uint64, payload []byte) {
		if len(payload) > 2*block.DefaultSymbolSize {
			return
		}
		v := newVictim(t)
		h := wire.Header{Type: wire.Type(kind), Epoch: 3, Symbol: symbol, Session: 7, Number: wire.PacketNumber(number), Block: at, Object: v.r.g.Tag}
		now := time.Now()
		v.r.datagram(v.key.Seal(h.Append(nil), payload, number), simnet.Source, now)
		settle := func() {
			t.Helper()
			for _, a := range v.r.full {
				if err := v.r.finish(v.r.complete(a, &v.r.shards)); err != nil {
					t.Fatal(err)
				}
			}
			v.r.full = v.r.full[:0]
			if n, most := len(v.r.free)+len(v.r.blocks), cap(v.r.work); n != most {
				t.Fatalf("there are %d buffers, want %d", n, most)
			}
		}
		// A whole block of rubbish, some of it repair symbols, which are decoded.
		at %= uint32(v.r.g.Blocks)
		coded := int(symbol) % (v.r.g.M + 1)
		filler := make([]byte, block.DefaultSymbolSize)
		for i := range v.r.g.K {
			binary.BigEndian.PutUint32(filler, uint32(i))
			copy(filler[4:], payload)
			h := wire.Header{Type: wire.TypeSymbol, Epoch: 3, Symbol: uint16(i + coded), Session: 7, Number: wire.PacketNumber(number + 1 + uint64(i)), Block: at, Object: v.r.g.Tag}
			v.r.datagram(v.key.Seal(h.Append(nil), filler, number+1+uint64(i)), simnet.Source, now)
		}
		settle()
		if n := v.r.cfg.Assembly.Have(); n != 0 || v.r.stats.Poisoned != 1 {
			t.Fatalf("%d blocks were taken that nobody honest has sent, %d were refused", n, v.r.stats.Poisoned)
		}
		for i := range v.r.g.K {
			v.r.datagram(v.symbol(int(at), i), simnet.Source, now)
		}
		settle()
		if n := v.r.cfg.Assembly.Have(); n != 1 {
			t.Fatal("the honest block was not taken")
		}
		v.r.describe(&wire.Report{})
	})
}
