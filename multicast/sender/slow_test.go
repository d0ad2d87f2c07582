package sender

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/receiver"
	"castpoint/test/objects"
)

// TestBottleneck has a link of a tenth of what the sender may send.
func TestBottleneck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 16, 300*objects.BlockSize, nil)
		link := simnet.Link{Rate: 100e6, Delay: 200 * time.Microsecond}
		a, b := l.join("a", link, simnet.Link{}, nil), l.join("b", link, simnet.Link{}, nil)
		l.verify(a)
		l.verify(b)
		l.close()
		ideal := float64(l.obj.Size) * 8 / 100e6
		sent := float64(l.s.Status().Sent) / float64(l.obj.Size)
		t.Logf("took %v, the link allows %.2fs; sent %.3f of the object", a.took, ideal, sent)
		if a.took.Seconds() > 1.5*ideal {
			t.Errorf("took %v, want at most 1.5 times the %.2fs that the link allows", a.took, ideal)
		}
		// What the search for the rate costs in the beginning: 1.26 to 1.31 of this object.
		if sent > 1.36 {
			t.Errorf("sent %.3f of the object over a link that loses only what does not fit", sent)
		}
	})
}

// TestSlowMember has one of four members on a link of a tenth of the others'.
func TestSlowMember(t *testing.T) {
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprintf("together %v", together), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				blocks := 700
				if together {
					blocks = 100 // goes at a tenth of the speed
				}
				l := newLab(t, 17, blocks*objects.BlockSize, func(c *Config) { c.KeepTogether = together })
				l.net.SetUplink(200e6)
				var fast []*machine
				for i := range 3 {
					fast = append(fast, l.join(fmt.Sprint("fast ", i), simnet.Link{Delay: 200 * time.Microsecond}, simnet.Link{}, nil))
				}
				slow := l.join("slow", simnet.Link{Rate: 20e6, Delay: 200 * time.Microsecond}, simnet.Link{}, nil)
				ideal := time.Duration(float64(l.obj.Size) * 8 / 200e6 * float64(time.Second))
				for _, rc := range fast {
					l.verify(rc)
					if !together && rc.took > ideal*13/10 {
						t.Errorf("member %s took %v: more than 1.3 times the %v it would take without the slow one", rc.name, rc.took, ideal)
					}
				}
				t.Logf("fast members took %v, the link allows %v", fast[0].took, ideal)
				if together {
					l.verify(slow)
				} else {
					<-slow.done
					if !errors.Is(slow.err, receiver.ErrMoved) {
						t.Errorf("the slow member says %v, want %v", slow.err, receiver.ErrMoved)
					}
				}
				l.close()
			})
		})
	}
}

// TestForgottenMember has a switch that forgets one of two members in the middle.
func TestForgottenMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 24, 200*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		a, b := l.join("a", simnet.Link{}, simnet.Link{}, nil), l.join("b", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(time.Second)
		b.conn.Forget()
		l.verify(a)
		l.verify(b)
		if b.took > a.took+3*time.Second {
			t.Errorf("the forgotten member took %v, the other one %v", b.took, a.took)
		}
		l.close()
	})
}

// TestLossyMemberStays has one member that loses a tenth whatever the rate: it
// is served like the others.
func TestLossyMemberStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 18, 500*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		var all []*machine
		for i := range 4 {
			link := simnet.Link{Delay: 200 * time.Microsecond}
			if i == 0 {
				link.Loss = 0.1
			}
			all = append(all, l.join(fmt.Sprint(i), link, simnet.Link{}, nil))
		}
		for _, rc := range all {
			l.verify(rc)
		}
		l.close()
		ideal := float64(l.obj.Size) * 8 / 100e6
		if took := all[0].took.Seconds(); took > 1.35*ideal {
			t.Errorf("it took %.1f s, want at most 1.35 times the %.1f s that the link allows", took, ideal)
		}
	})
}

// busyMember is a member whose processor takes time for each datagram. Its
// network is as good as the others'.
type busyMember struct {
	*simnet.Member
	each time.Duration
}

func (m busyMember) ReadGroup(handle func([]byte, netip.Addr, time.Time)) error {
	return m.Member.ReadGroup(func(d []byte, from netip.Addr, at time.Time) {
		time.Sleep(m.each)
		handle(d, from, at)
	})
}

// TestBusyMember has one of four members with a slow processor: it holds the
// window back, until it is found out.
func TestBusyMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 19, 700*objects.BlockSize, nil)
		l.net.SetUplink(200e6)
		var fast []*machine
		for i := range 3 {
			fast = append(fast, l.join(fmt.Sprint("fast ", i), simnet.Link{}, simnet.Link{}, nil))
		}
		l.wrap = func(m *simnet.Member) receiver.Conn { return busyMember{m, 500 * time.Microsecond} }
		slow := l.join("busy", simnet.Link{}, simnet.Link{}, nil)
		ideal := time.Duration(float64(l.obj.Size) * 8 / 200e6 * float64(time.Second))
		for _, rc := range fast {
			l.verify(rc)
			if rc.took > ideal*14/10 {
				t.Errorf("member %s took %v: more than 1.4 times the %v it would take without the busy one", rc.name, rc.took, ideal)
			}
		}
		t.Logf("fast members took %v, the link allows %v", fast[0].took, ideal)
		<-slow.done
		if !errors.Is(slow.err, receiver.ErrMoved) {
			t.Errorf("the busy member says %v, want %v", slow.err, receiver.ErrMoved)
		}
		l.close()
	})
}
