package sender

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/receiver"
	"castpoint/test/objects"
)

// ranges takes blocks by unicast as an agent does, 8 at a time, each range at the
// rate that link gives at that moment, until the session advises something else or
// everything is there.
func (l *lab) ranges(rc *machine, slower int, link func() float64) Advice {
	l.t.Helper()
	last := 0.0
	for !rc.asm.Complete() {
		if a := l.s.Advise(rc.m.ID, last, slower); a != AdviceStay {
			return a
		}
		first, n := rc.asm.Missing()[0].First, 0
		for b := first; b < min(first+8, rc.asm.Blocks()); b++ {
			n += rc.asm.Length(b)
		}
		last = link()
		time.Sleep(time.Duration(float64(n*8) / last * float64(time.Second)))
		for b := first; b < min(first+8, rc.asm.Blocks()); b++ {
			at := b * objects.BlockSize
			if err := rc.asm.Put(b, l.data[at:at+rc.asm.Length(b)]); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	return AdviceStay
}

// rejoin is the machine of rc as a new member.
func (l *lab) rejoin(rc *machine, down simnet.Link) *machine {
	l.t.Helper()
	again := l.join(rc.name, down, simnet.Link{}, rc.target)
	l.s.Rejoined(again.m.ID, rc.m.ID)
	l.s.Leave(rc.m.ID, multicast.LeaveRequest{Reason: "again"})
	return again
}

// mustMove waits until the session has moved a member.
func (l *lab) mustMove(rc *machine) {
	l.t.Helper()
	if <-rc.done; !errors.Is(rc.err, receiver.ErrMoved) {
		l.t.Fatalf("member %s: %v, want %v", rc.name, rc.err, receiver.ErrMoved)
	}
}

// The session that these tests play: 65 s at its cap.
const (
	apartRate   = 8e6
	apartBlocks = 350
)

// fastFour are members with good links, in a session of apartBlocks at apartRate.
func fastFour(t *testing.T, seed uint64) (l *lab, fast []*machine, ideal time.Duration) {
	l = newLab(t, seed, apartBlocks*objects.BlockSize, func(c *Config) { c.MaxRate = apartRate })
	for i := range 4 {
		fast = append(fast, l.join(fmt.Sprint("fast ", i), simnet.Link{}, simnet.Link{}, nil))
	}
	return l, fast, time.Duration(float64(l.obj.Size) * 8 / apartRate * float64(time.Second))
}

// keptUp checks the members that nothing was wrong with.
func (l *lab) keptUp(fast []*machine, ideal time.Duration) {
	l.t.Helper()
	for _, rc := range fast {
		l.verify(rc)
		if rc.took > ideal*12/10 {
			l.t.Errorf("member %s took %v, more than 1.2 times %v", rc.name, rc.took, ideal)
		}
	}
}

// TestWayBack has a member on a slow link that is repaired after 20 s.
func TestWayBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, fast, ideal := fastFour(t, 31)
		slow := l.join("slow", simnet.Link{Rate: apartRate / 8}, simnet.Link{}, nil)
		began := time.Now()
		l.mustMove(slow)
		repaired := began.Add(20 * time.Second)
		advice := l.ranges(slow, 0, func() float64 {
			if time.Now().Before(repaired) {
				return apartRate / 8
			}
			return apartRate
		})
		if advice != AdviceBack {
			t.Fatalf("after %v with %d blocks it was advised %d", time.Since(began), slow.asm.Have(), advice)
		}
		if late := time.Since(repaired); late < 0 || late > 15*time.Second {
			t.Errorf("it was asked back %v after its link was good again", late)
		}
		if l.s.Outpaced(slow.m.ID) {
			t.Error("a member that was asked back belongs into the session")
		}
		again := l.rejoin(slow, simnet.Link{})
		l.verify(again)
		l.keptUp(fast, ideal)
		l.close()
		t.Logf("asked back after %v, complete %v later; the others took %v", time.Since(began)-again.took, again.took, fast[0].took)
	})
}

// TestNoToAndFro has a member whose ranges come fast and whose multicast does not:
// its trials become rare, and cost the others nothing.
func TestNoToAndFro(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, fast, ideal := fastFour(t, 32)
		link := simnet.Link{Rate: apartRate * 6 / 10} // above stragglerShare, below returnShare
		rc := l.join("slow", simnet.Link{Rate: apartRate / 8}, simnet.Link{}, nil)
		l.mustMove(rc)
		moves := 1
		// It takes each range again and again: the object must not end before the test.
		for time.Since(l.s.start) < ideal*9/10 {
			time.Sleep(500 * time.Millisecond)
			if a := l.s.Advise(rc.m.ID, apartRate, 0); a == AdviceBack {
				rc = l.rejoin(rc, link)
				l.mustMove(rc)
				moves++
			}
		}
		if moves < 2 || moves > 4 {
			t.Errorf("it was moved %d times in %v, want 2 to 4", moves, ideal)
		}
		l.keptUp(fast, ideal)
		l.s.Leave(rc.m.ID, multicast.LeaveRequest{})
		l.close()
		t.Logf("moved %d times; the others took %v of %v", moves, fast[0].took, ideal)
	})
}

// TestSlowerSession has two slow members: alone, one takes ranges; both are asked
// into a session of their own, which goes on when the first one has ended. One that
// comes late is in the first one.
func TestSlowerSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, fast, ideal := fastFour(t, 33)
		link := simnet.Link{Rate: apartRate / 4}
		a, b := l.join("a", link, simnet.Link{}, nil), l.join("b", link, simnet.Link{}, nil)
		l.mustMove(a)
		l.mustMove(b)
		second := &lab{t: t, net: simnet.New(34), obj: l.obj, data: l.data, end: make(chan error, 1)}
		second.serve(2, func(c *Config) { c.MaxRate = apartRate / 2 })
		var slow []*machine
		for _, rc := range []*machine{a, b} {
			if advice := l.ranges(rc, second.s.Present(), func() float64 { return apartRate / 4 }); advice != AdviceSlower {
				t.Fatalf("member %s was advised %d", rc.name, advice)
			}
			if !l.s.Outpaced(rc.m.ID) {
				t.Errorf("member %s may go into the first session again", rc.name)
			}
			l.s.Leave(rc.m.ID, multicast.LeaveRequest{Reason: "again"})
			slow = append(slow, second.join(rc.name, link, simnet.Link{}, rc.target))
		}
		late := l.join("late", simnet.Link{}, simnet.Link{}, nil)
		l.keptUp(fast, ideal)
		l.verify(late)
		for _, rc := range slow {
			select {
			case <-rc.done:
				t.Errorf("member %s of the slower session was done as early as the fast ones", rc.name)
			default:
			}
		}
		l.close()
		for _, rc := range slow {
			l.verify(rc)
			if most := ideal * 4 * 13 / 10; rc.took > most {
				t.Errorf("member %s took %v at a quarter of the rate, want at most %v", rc.name, rc.took, most)
			}
		}
		second.close()
		t.Logf("fast ones %v, slow ones %v and %v", fast[0].took, slow[0].took, slow[1].took)
	})
}
