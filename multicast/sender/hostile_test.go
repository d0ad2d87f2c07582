package sender

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	"castpoint/test/objects"
)

// TestHostileReportsCostNothing is the same for the sender.
func TestHostileReportsCostNothing(t *testing.T) {
	o := block.Object{Size: 100 * objects.BlockSize, BlockSize: objects.BlockSize, Hashes: make([]byte, 100*block.HashSize)}
	s, err := New(Config{ID: 1, Objects: []block.Object{o}, Sources: []io.ReaderAt{zeros{}}, Conn: simnet.New(1).Sender(), Group: testGroup})
	if err != nil {
		t.Fatal(err)
	}
	_, m, _, err := s.Admit(Candidate{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := seal.NewReportSealer(m.Key)
	if err != nil {
		t.Fatal(err)
	}
	h := wire.ReportHeader{Session: s.ID(), Number: 5, Member: m.ID}
	good := own.Seal(h.Append(nil), (&wire.Report{To: 100}).Append(nil), 5)
	scratch := make([]byte, 0, 2*wire.MaxReport)
	s.report(good, scratch)
	change := func(at int, b ...byte) []byte {
		d := slices.Clone(good)
		copy(d[at:], b)
		return d
	}
	for name, d := range map[string][]byte{
		"noise":           make([]byte, 1400),
		"short":           good[:30],
		"another session": change(4, 9, 9, 9, 9),
		"no such member":  change(16, 9, 9, 9, 9),
		"forged":          change(30, 9),
		"repeated":        good,
	} {
		if n := testing.AllocsPerRun(1000, func() { s.report(d, scratch) }); n > 0 && !raceDetector {
			t.Errorf("%s: %v allocations for a report", name, n)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.members[m.ID]; got.number != 5 || len(s.members) != 1 {
		t.Errorf("%d members, report %d: hostile reports were taken", len(s.members), got.number)
	}
}

// TestAdversary has somebody on the wire who sees everything and sends as much as
// the link carries beside the session: forged, repeated, reordered, cut, foreign.
// Members end with the right bytes in about the time that they take without him.
func TestAdversary(t *testing.T) {
	const link = 100e6 // bits per second, of the session and of the adversary
	took := map[bool]time.Duration{}
	for _, hostile := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 40, 120*objects.BlockSize, nil)
			l.net.SetUplink(link)
			rng := rand.New(rand.NewPCG(4, 4))
			var mu sync.Mutex
			var recorded [][]byte
			l.net.SetTap(func(d []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				if len(recorded) < 4096 {
					recorded = append(recorded, slices.Clone(d))
				} else {
					recorded[rng.IntN(len(recorded))] = slices.Clone(d)
				}
				return true
			})
			var all []*machine
			for i := range 3 {
				all = append(all, l.join(fmt.Sprint(i), simnet.Link{Loss: 0.01, Delay: time.Millisecond}, simnet.Link{}, nil))
			}
			injected := 0
			if hostile {
				each := time.Duration(1480 * 8 / link * float64(time.Second))
				for open := true; open; {
					time.Sleep(16 * each)
					mu.Lock()
					for range min(16, len(recorded)) {
						d := spoil(rng, slices.Clone(recorded[rng.IntN(len(recorded))]))
						for _, rc := range all {
							rc.conn.Inject(d)
						}
						injected++
					}
					mu.Unlock()
					open = slices.ContainsFunc(all, func(rc *machine) bool {
						select {
						case <-rc.done:
							return false
						default:
							return true
						}
					})
				}
			}
			for _, rc := range all {
				l.verify(rc)
				took[hostile] = max(took[hostile], rc.took)
				st := rc.r.Stats()
				if hostile && (st.Poisoned > 0 || st.Forged == 0 || st.Foreign == 0 || st.Duplicates == 0) {
					t.Errorf("member %s counted %+v", rc.name, st)
				}
			}
			l.close()
			t.Logf("hostile %v: %v, %d hostile datagrams to each; %+v", hostile, took[hostile], injected, all[0].r.Stats())
		})
	}
	if took[true] > took[false]*5/4 {
		t.Errorf("members took %v, without an adversary %v", took[true], took[false])
	}
}

// spoil makes a hostile datagram out of a recorded one.
func spoil(rng *rand.Rand, d []byte) []byte {
	switch rng.IntN(7) {
	case 0: // as it is: repeated, and out of order
	case 1:
		d = d[:rng.IntN(len(d)+1)]
	case 2:
		for i := range d {
			d[i] = byte(rng.Uint32())
		}
	case 3:
		d[4] ^= 0x55 // another session
	case 4:
		d[1] += byte(1 + rng.IntN(3)) // epochs to come
	default:
		// In the clear part, or in what is sealed.
		d[rng.IntN(len(d))] ^= byte(1 + rng.IntN(255))
	}
	return d
}
