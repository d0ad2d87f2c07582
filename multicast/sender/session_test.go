package sender

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/receiver"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
	hostclock "castpoint/test/clock"
	"castpoint/test/objects"
)

func TestLoss(t *testing.T) {
	for _, loss := range []float64{0, 0.001, 0.01, 0.05, 0.2} {
		t.Run(fmt.Sprintf("%g%%", 100*loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 7, 40*objects.BlockSize+12345, func(c *Config) { c.MinMembers = 4; c.MaxWait = time.Second })
				link := simnet.Link{Loss: loss, Delay: 200 * time.Microsecond}
				var all []*machine
				for i := range 4 {
					all = append(all, l.join(fmt.Sprint(i), link, link, nil))
				}
				for _, rc := range all {
					l.verify(rc)
				}
				l.close()
				st := l.s.Status()
				symbols := float64(l.obj.Size) / block.DefaultSymbolSize
				sent := float64(st.Sent) / block.DefaultSymbolSize / symbols
				t.Logf("loss %g: %.3f symbols sent for each of the object, %v", loss, sent, all[0].took)
				// What one member loses, 1/(1-p), with room for the worst of four and
				// for a second round of the rest.
				if limit := 1/(1-loss) + 2.5*loss + 0.02; sent > limit {
					t.Errorf("sent %.3f of the object, want at most %.3f", sent, limit)
				}
			})
		})
	}
}

func TestDisorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, 30*objects.BlockSize+1, nil)
		link := simnet.Link{Loss: 0.02, Duplicate: 0.05, Reorder: 0.1, ReorderBy: 3 * time.Millisecond, Delay: time.Millisecond}
		a, b := l.join("a", link, link, nil), l.join("b", link, link, nil)
		l.verify(a)
		l.verify(b)
		l.close()
		if a.r.Stats().Duplicates == 0 {
			t.Error("no duplicate was counted although one in twenty was sent")
		}
	})
}

func TestLateJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 4, 100*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		first := l.join("first", simnet.Link{Loss: 0.01}, simnet.Link{}, nil)
		time.Sleep(800 * time.Millisecond) // more than half has gone by
		if n := first.asm.Have(); n < 20 || n > 80 {
			t.Fatalf("first has %d of 100 blocks when the second joins: the test's timing is off", n)
		}
		late := l.join("late", simnet.Link{Loss: 0.01}, simnet.Link{}, nil)
		l.verify(first)
		l.verify(late)
		l.close()
		if sent := l.s.Status().Sent; sent > 2*uint64(l.obj.Size) {
			t.Errorf("sent %d bytes for an object of %d: the late member made everything go twice", sent, l.obj.Size)
		}
	})
}

func TestMemberDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 5, 60*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		lives, dies := l.join("lives", simnet.Link{}, simnet.Link{}, nil), l.join("dies", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(200 * time.Millisecond)
		dies.cancel()
		<-dies.done
		l.verify(lives)
		if lives.took > 3*time.Second {
			t.Errorf("the member that lives took %v: it waited for the dead one", lives.took)
		}
		time.Sleep(10 * time.Second)
		for _, m := range l.s.Status().Members {
			if m.Name == "dies" && m.State != MemberSilent {
				t.Errorf("dead member is %q, want %q", m.State, MemberSilent)
			}
		}
		l.close() // ends although the dead member never left
	})
}

func TestReceiverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 6, 60*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(500 * time.Millisecond)
		a.cancel()
		<-a.done
		if !errors.Is(a.err, context.Canceled) {
			t.Fatalf("cancelled receiver says %v", a.err)
		}
		had := a.asm.Have()
		if had < 10 || had == 60 {
			t.Fatalf("%d of 60 blocks at the restart: the test's timing is off", had)
		}
		l.s.Leave(a.m.ID, multicast.LeaveRequest{Reason: "restart"})
		before := l.s.Status().Sent
		again := l.join("a", simnet.Link{}, simnet.Link{}, a.target)
		if n := again.asm.Have(); n != had {
			t.Errorf("scan found %d blocks, %d were written", n, had)
		}
		l.verify(again)
		l.close()
		if sent, most := l.s.Status().Sent-before, uint64(60-had+8)*objects.BlockSize; sent > most {
			t.Errorf("%d bytes were sent after the restart, want at most %d", sent, most)
		}
	})
}

func TestSenderRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 8, 60*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(300 * time.Millisecond)
		l.stop()
		l.close()
		<-a.done
		if !errors.Is(a.err, receiver.ErrSessionEnded) {
			t.Fatalf("receiver of an ended session says %v, want %v", a.err, receiver.ErrSessionEnded)
		}
		l.net = simnet.New(9)
		l.serve(2, nil)
		again := l.join("a", simnet.Link{}, simnet.Link{}, a.target)
		l.verify(again)
		l.close()
	})
}

func TestNothingArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 10, objects.BlockSize, nil)
		a := l.join("a", simnet.Link{Loss: 1}, simnet.Link{}, nil)
		<-a.done
		if !errors.Is(a.err, receiver.ErrNoDatagrams) {
			t.Errorf("receiver on a dead link says %v, want %v", a.err, receiver.ErrNoDatagrams)
		}
		if a.took != defaultSilence && a.took > defaultSilence+time.Second {
			t.Errorf("it said so after %v, want about %v", a.took, defaultSilence)
		}
		l.s.Leave(a.m.ID, multicast.LeaveRequest{Reason: "no datagrams"})
		l.close()
	})
}

func TestForeignAndForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 11, 20*objects.BlockSize, func(c *Config) { c.MinMembers = 2; c.MaxWait = time.Second })
		l.net.SetUplink(200e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		rng := rand.New(rand.NewPCG(1, 1))
		forge := func(h wire.Header, n int) {
			d := h.Append(nil)
			for range n {
				d = append(d, byte(rng.Uint32()))
			}
			a.conn.Inject(d)
		}
		symbol := block.DefaultSymbolSize + wire.TagSize
		for i := range 2000 {
			forge(wire.Header{Type: wire.TypeSymbol, Session: 99, Number: 1}, symbol)                                                                         // another session
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Number: 1 << 60, Block: uint32(i % 20), Symbol: uint16(i % 128), Object: l.s.g.Tag}, symbol) // wrong tag
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Number: 1 << 61, Block: 1 << 30, Symbol: 9999, Object: l.s.g.Tag}, symbol)                   // no such block
			forge(wire.Header{Type: wire.TypeBeacon, Session: 1, Number: 1 << 62, Object: l.s.g.Tag}, 40)                                                     // beacon that ends it
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Epoch: 7, Number: 5, Object: l.s.g.Tag}, 30)                                                 // unknown epoch
			a.conn.Inject([]byte{1, 2, 3})
		}
		b := l.join("b", simnet.Link{}, simnet.Link{}, nil)
		l.verify(a)
		l.verify(b)
		l.close()
		if st := a.r.Stats(); st.Forged < 2000 || st.Foreign < 2000 {
			t.Errorf("counted %d forged and %d foreign datagrams, at least 2000 of each were sent", st.Forged, st.Foreign)
		}
	})
}

// TestPoison has a member that makes authentic symbols with wrong bytes: it can
// waste time, and no more.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 12, 20*objects.BlockSize, nil)
		l.net.SetUplink(200e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		wrong := make([]byte, block.DefaultSymbolSize)
		l.s.mu.Lock()
		key := l.s.keys.Current()
		l.s.mu.Unlock()
		for i := range uint16(40) {
			h := wire.Header{Type: wire.TypeSymbol, Session: 1, Symbol: i, Block: 5, Number: wire.PacketNumber(1e9 + uint64(i)), Object: l.s.g.Tag}
			a.conn.Inject(key.Seal(h.Append(nil), wrong, uint64(h.Number)))
		}
		l.verify(a)
		l.close()
		if a.r.Stats().Poisoned == 0 {
			t.Error("no poisoned block was counted")
		}
	})
}

// A member has the group key, and still cannot say in the server's name that the session
// is over, that another one is too slow for it, or what the last word of the server was.
func TestMemberIsNotTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 12, 20*objects.BlockSize, nil)
		l.net.SetUplink(50e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		l.s.mu.Lock()
		key, victim := l.s.keys.Current(), l.s.order[0].id
		l.s.mu.Unlock()
		_, own, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range []wire.Beacon{{State: wire.StateEnded}, {State: wire.StateSending, Moved: []uint32{victim}}, {State: wire.StateSending, ReportInterval: 1 << 31}} {
			for k, sig := range []ed25519.PrivateKey{nil, own} {
				h := wire.Header{Type: wire.TypeBeacon, Session: 1, Number: wire.PacketNumber(1e9 + uint64(10*i+k)), Epoch: key.Epoch, Object: l.s.g.Tag}
				clear, plain := h.Append(nil), b.Append(nil)
				if sig != nil {
					plain = seal.Sign(sig, clear, plain)
				}
				a.conn.Inject(key.Seal(clear, plain, uint64(h.Number)))
			}
		}
		l.verify(a)
		l.close()
		if n := a.r.Stats().Forged; n != 6 {
			t.Errorf("%d beacons were found out, want 6", n)
		}
	})
}

func TestStartRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 13, 5*objects.BlockSize, func(c *Config) { c.MinMembers = 3; c.MaxWait = time.Minute })
		a, b := l.join("a", simnet.Link{}, simnet.Link{}, nil), l.join("b", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(30 * time.Second)
		if n := a.asm.Have() + b.asm.Have(); n != 0 {
			t.Fatalf("%d blocks were sent to two members before the third", n)
		}
		begin := time.Now()
		c := l.join("c", simnet.Link{}, simnet.Link{}, nil)
		for _, rc := range []*machine{a, b, c} {
			l.verify(rc)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("after the third member it took %v", d)
		}
		l.close()
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 14, 5*objects.BlockSize, func(c *Config) { c.MinMembers = 3; c.MaxWait = time.Minute })
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		l.verify(a)
		if a.took < time.Minute || a.took > 62*time.Second {
			t.Errorf("one of three members was served after %v, want a minute", a.took)
		}
		l.close()
	})
}

func TestKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 15, 60*objects.BlockSize, nil)
		l.net.SetUplink(100e6)
		stays, goes := l.join("stays", simnet.Link{}, simnet.Link{}, nil), l.join("goes", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(300 * time.Millisecond)
		if err := l.s.Kick(goes.m.ID); err != nil {
			t.Fatal(err)
		}
		<-goes.done
		<-stays.done
		if !errors.Is(goes.err, receiver.ErrKeys) || !errors.Is(stays.err, receiver.ErrKeys) {
			t.Fatalf("after the key changed members say %v and %v, want %v", goes.err, stays.err, receiver.ErrKeys)
		}
		if goes.asm.Complete() {
			t.Error("the kicked member has everything")
		}
		l.s.Leave(stays.m.ID, multicast.LeaveRequest{Reason: "joins again"})
		again := l.join("stays", simnet.Link{}, simnet.Link{}, stays.target)
		l.verify(again)
		l.close()
	})
}

func TestStartAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 21, 5*objects.BlockSize, func(c *Config) {
			c.MinMembers, c.StartAt, c.Linger = 3, time.Now().Add(time.Hour), 2*time.Hour
		})
		time.Sleep(59 * time.Minute)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		l.verify(a)
		if a.took < time.Minute || a.took > 62*time.Second {
			t.Errorf("a member that came a minute before the start was served after %v", a.took)
		}
		l.stop()
		l.close()
	})
}

// TestStartWhileTheClockIsSet: a start is of the calendar. A session that waits for one
// does not end before it, when the clock is put back meanwhile, and begins at once when
// the clock is put forward over it.
func TestStartWhileTheClockIsSet(t *testing.T) {
	o, data := objects.New(objects.BlockSize, 1)
	began := time.Now()
	waiting := func() *Session {
		s, err := New(Config{ID: 1, Objects: []block.Object{o}, Sources: sourcesOf(data), Conn: simnet.New(1).Sender(), Group: testGroup,
			StartAt: began.Add(time.Hour), Linger: 90 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := waiting()
	back := hostclock.Set(began, -5*time.Hour)
	for _, after := range []time.Duration{time.Minute, 2 * time.Hour, 5*time.Hour + 59*time.Minute} {
		if s.tick(back.Add(after)) {
			t.Errorf("put back by five hours, it is over after %s", after)
		}
	}
	if !s.tick(back.Add(6*time.Hour + time.Minute)) {
		t.Error("nobody came until the start, and it goes on")
	}
	s = waiting()
	if _, _, _, err := s.Admit(Candidate{Name: "a", AES: true}); err != nil {
		t.Fatal(err)
	}
	forward := hostclock.Set(time.Now(), 2*time.Hour)
	if s.tick(forward); s.state != wire.StateSending {
		t.Errorf("put forward over the start, it is %v", s.state)
	}
}

func TestFullSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 22, 5*objects.BlockSize, func(c *Config) { c.MaxMembers = 2; c.MinMembers = 2 })
		a, b := l.join("a", simnet.Link{}, simnet.Link{}, nil), l.join("b", simnet.Link{}, simnet.Link{}, nil)
		if _, _, _, err := l.s.Admit(Candidate{Name: "c", AES: true}); !errors.Is(err, ErrFull) {
			t.Errorf("the third of two members: %v, want %v", err, ErrFull)
		}
		l.verify(a)
		l.verify(b)
		c := l.join("c", simnet.Link{}, simnet.Link{}, nil) // those that are done have made room
		l.verify(c)
		l.close()
	})
}

// TestLeastRate has two of three members on links of less than the session's
// least rate: they are not waited for, though they are more than a quarter.
func TestLeastRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 23, 400*objects.BlockSize, func(c *Config) { c.MinRate, c.MaxRate, c.MinMembers = 80e6, 100e6, 3 })
		slow := simnet.Link{Rate: 20e6}
		fast := l.join("fast", simnet.Link{}, simnet.Link{}, nil)
		x, y := l.join("x", slow, simnet.Link{}, nil), l.join("y", slow, simnet.Link{}, nil)
		l.verify(fast)
		if limit := 10 * time.Second; fast.took > limit {
			t.Errorf("took %v at a least rate of 80 Mbit/s, want at most %v", fast.took, limit)
		}
		for _, rc := range []*machine{x, y} {
			<-rc.done
			if !errors.Is(rc.err, receiver.ErrMoved) {
				t.Errorf("member %s: %v, want %v", rc.name, rc.err, receiver.ErrMoved)
			}
			l.s.Leave(rc.m.ID, multicast.LeaveRequest{Complete: true})
		}
		l.close()
	})
}
