package sender

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

// BenchmarkReport measures what one report costs the sender, with many members
// of a 20 GB object of which half has been sent.
func BenchmarkReport(b *testing.B) {
	for _, members := range []int{4, 1000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			const blocks = 111_000
			o := block.Object{Size: blocks * objects.BlockSize, BlockSize: objects.BlockSize, Hashes: make([]byte, blocks*block.HashSize)}
			s, err := New(Config{ID: 1, Objects: []block.Object{o}, Sources: []io.ReaderAt{bytes.NewReader(nil)}, Conn: simnet.New(1).Sender(),
				Group: netip.MustParseAddrPort("239.192.67.1:7800")})
			if err != nil {
				b.Fatal(err)
			}
			var list []multicast.Member
			for range members {
				_, m, _, err := s.Admit(Candidate{AES: true})
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, m)
			}
			s.number.Store(1e9)
			for i := range blocks {
				s.schedule.full.Add(i)
			}
			for range blocks / 2 {
				w, _, _ := s.schedule.pick(0, time.Now(), 0)
				s.schedule.done(w.block, wire.PacketNumber(w.block+1)*128)
			}
			// Complete but for one symbol of each of the last 70 blocks; then nothing.
			r := wire.Report{Highest: blocks / 2 * 128, Received: blocks / 2 * 128, Complete: blocks/2 - 70, To: blocks}
			for i := range 70 {
				gap := uint32(0)
				if i == 0 {
					gap = blocks/2 - 70
				}
				r.Runs, _ = wire.AppendRun(r.Runs, wire.Run{Gap: gap, Count: 1, Deficit: uint8(1 + i%2)})
			}
			r.Runs, _ = wire.AppendRun(r.Runs, wire.Run{Count: blocks - blocks/2, Deficit: 128})
			plain := r.Append(nil)
			seals := make([]*seal.Sealer, members)
			for i, m := range list {
				if seals[i], err = seal.NewReportSealer(m.Key); err != nil {
					b.Fatal(err)
				}
			}
			scratch := make([]byte, 0, 2*wire.MaxReport)
			var out []byte
			number := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				i := int(number) % members
				number++
				h := wire.ReportHeader{Session: 1, Number: number, Member: list[i].ID}
				out = seals[i].Seal(h.Append(out[:0]), plain, number)
				b.StartTimer()
				s.report(out, scratch)
			}
			perSecond := min(float64(members)/multicast.ReportInterval.Seconds(), reportsPerSecond)
			b.ReportMetric(100*perSecond*b.Elapsed().Seconds()/float64(b.N), "%core")
		})
	}
}
