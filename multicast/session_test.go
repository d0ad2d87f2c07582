package multicast

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/blake3"

	"castpoint/internal/simnet"
	"castpoint/multicast/wire"
)

const testBlock = 128 * DefaultSymbolSize

// object makes an object of n bytes and its description.
func object(n int, seed uint64) (Object, []byte) {
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rng.Read(data)
	o := Object{Digest: sha256.Sum256(data), Size: int64(n), BlockSize: testBlock}
	o.SHA256 = fmt.Sprintf("%x", o.Digest)
	for at := 0; at < n; at += testBlock {
		h := blake3.Sum256(data[at:min(at+testBlock, n)])
		o.Hashes = append(o.Hashes, h[:]...)
	}
	return o, data
}

// memory is a Target.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) Sync() error { return nil }

// lab is a session on a simulated network. It lives in a synctest bubble.
type lab struct {
	t     *testing.T
	net   *simnet.Network
	obj   Object
	data  []byte
	s     *Session
	stop  context.CancelFunc
	end   chan error
	noAES bool                            // of members that join from now on
	wrap  func(*simnet.Member) MemberConn // of members that join from now on; nil for none
}

var testGroup = netip.MustParseAddrPort("239.192.67.1:7800")

func sourcesOf(data ...[]byte) (list []io.ReaderAt) {
	for _, d := range data {
		list = append(list, bytes.NewReader(d))
	}
	return list
}

func newLab(t *testing.T, seed uint64, size int, change func(*Config)) *lab {
	l := &lab{t: t, net: simnet.New(seed), end: make(chan error, 1)}
	l.net.SetUplink(1e9)
	l.obj, l.data = object(size, seed)
	l.serve(1, change)
	return l
}

// serve starts a session with the given id on the lab's network.
func (l *lab) serve(id uint32, change func(*Config)) {
	cfg := Config{
		ID: id, Objects: []Object{l.obj}, Sources: sourcesOf(l.data), Conn: l.net.Sender(),
		Group: testGroup, Feedback: netip.MustParseAddrPort("192.0.2.1:7800"),
		Linger: 2 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := NewSession(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.s, l.stop = s, stop
	go func() { l.end <- s.Run(ctx) }()
}

// receiver is one member of the lab.
type receiver struct {
	name   string
	conn   *simnet.Member
	target *memory
	asm    *Assembly
	r      *Receiver
	m      Member
	err    error
	took   time.Duration
	done   chan struct{}
	cancel context.CancelFunc
}

// join admits a member and starts it. target may hold blocks already.
func (l *lab) join(name string, down, up simnet.Link, target *memory) *receiver {
	l.t.Helper()
	if target == nil {
		target = &memory{}
	}
	rc := l.joinTo(name, down, up, target)
	rc.target = target
	return rc
}

// joinTo is join with any target.
func (l *lab) joinTo(name string, down, up simnet.Link, target Target) *receiver {
	l.t.Helper()
	p, m, keys, err := l.s.Admit(Candidate{Name: name, AES: !l.noAES})
	if err != nil {
		l.t.Fatal(err)
	}
	asm, err := NewAssembly([]Object{l.obj}, []Target{target})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, ok := target.(*memory); ok {
		if err := asm.Scan(context.Background(), nil); err != nil {
			l.t.Fatal(err)
		}
	}
	rc := &receiver{name: name, conn: l.net.Member(down, up), asm: asm, m: m, done: make(chan struct{})}
	var conn MemberConn = rc.conn
	if l.wrap != nil {
		conn = l.wrap(rc.conn)
	}
	rc.r, err = NewReceiver(ReceiverConfig{
		Admission: Admission{Objects: []Object{l.obj}, Session: p, Member: m, Keys: keys},
		Assembly:  asm, Conn: conn,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rc.cancel = cancel
	begin, s := time.Now(), l.s
	go func() {
		defer close(rc.done)
		rc.err = rc.r.Run(ctx)
		if rc.err == nil {
			rc.err = asm.Finish(context.Background())
		}
		rc.took = time.Since(begin)
		if rc.err == nil {
			s.Leave(m.ID, LeaveRequest{Complete: true, Repaired: rc.r.Stats().Repaired})
		}
	}()
	return rc
}

// verify waits for the member and checks what it has.
func (l *lab) verify(rc *receiver) {
	l.t.Helper()
	<-rc.done
	if rc.err != nil {
		l.t.Errorf("member %s: %v", rc.name, rc.err)
		return
	}
	if !bytes.Equal(rc.target.b, l.data) {
		l.t.Errorf("member %s has other bytes than were sent", rc.name)
	}
}

// close waits for the session to end by itself.
func (l *lab) close() {
	l.t.Helper()
	if err := <-l.end; err != nil {
		l.t.Errorf("session: %v", err)
	}
}

func TestLoss(t *testing.T) {
	for _, loss := range []float64{0, 0.001, 0.01, 0.05, 0.2} {
		t.Run(fmt.Sprintf("%g%%", 100*loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, 7, 40*testBlock+12345, func(c *Config) { c.MinMembers = 4; c.MaxWait = time.Second })
				link := simnet.Link{Loss: loss, Delay: 200 * time.Microsecond}
				var all []*receiver
				for i := range 4 {
					all = append(all, l.join(fmt.Sprint(i), link, link, nil))
				}
				for _, rc := range all {
					l.verify(rc)
				}
				l.close()
				st := l.s.Status()
				symbols := float64(l.obj.Size) / DefaultSymbolSize
				sent := float64(st.Sent) / DefaultSymbolSize / symbols
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
		l := newLab(t, 3, 30*testBlock+1, nil)
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
		l := newLab(t, 4, 100*testBlock, nil)
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
		l := newLab(t, 5, 60*testBlock, nil)
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
		l := newLab(t, 6, 60*testBlock, nil)
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
		l.s.Leave(a.m.ID, LeaveRequest{Reason: "restart"})
		before := l.s.Status().Sent
		again := l.join("a", simnet.Link{}, simnet.Link{}, a.target)
		if n := again.asm.Have(); n != had {
			t.Errorf("scan found %d blocks, %d were written", n, had)
		}
		l.verify(again)
		l.close()
		if sent, most := l.s.Status().Sent-before, uint64(60-had+8)*testBlock; sent > most {
			t.Errorf("%d bytes were sent after the restart, want at most %d", sent, most)
		}
	})
}

func TestSenderRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 8, 60*testBlock, nil)
		l.net.SetUplink(100e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(300 * time.Millisecond)
		l.stop()
		l.close()
		<-a.done
		if !errors.Is(a.err, ErrSessionEnded) {
			t.Fatalf("receiver of an ended session says %v, want %v", a.err, ErrSessionEnded)
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
		l := newLab(t, 10, testBlock, nil)
		a := l.join("a", simnet.Link{Loss: 1}, simnet.Link{}, nil)
		<-a.done
		if !errors.Is(a.err, ErrNoDatagrams) {
			t.Errorf("receiver on a dead link says %v, want %v", a.err, ErrNoDatagrams)
		}
		if a.took != defaultSilence && a.took > defaultSilence+time.Second {
			t.Errorf("it said so after %v, want about %v", a.took, defaultSilence)
		}
		l.s.Leave(a.m.ID, LeaveRequest{Reason: "no datagrams"})
		l.close()
	})
}

func TestForeignAndForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 11, 20*testBlock, func(c *Config) { c.MinMembers = 2; c.MaxWait = time.Second })
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
		symbol := DefaultSymbolSize + wire.TagSize
		for i := range 2000 {
			forge(wire.Header{Type: wire.TypeSymbol, Session: 99, Number: 1}, symbol)                                                                         // another session
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Number: 1 << 60, Block: uint32(i % 20), Symbol: uint16(i % 128), Object: l.s.g.tag}, symbol) // wrong tag
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Number: 1 << 61, Block: 1 << 30, Symbol: 9999, Object: l.s.g.tag}, symbol)                   // no such block
			forge(wire.Header{Type: wire.TypeBeacon, Session: 1, Number: 1 << 62, Object: l.s.g.tag}, 40)                                                     // beacon that ends it
			forge(wire.Header{Type: wire.TypeSymbol, Session: 1, Epoch: 7, Number: 5, Object: l.s.g.tag}, 30)                                                 // unknown epoch
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
		l := newLab(t, 12, 20*testBlock, nil)
		l.net.SetUplink(200e6)
		a := l.join("a", simnet.Link{}, simnet.Link{}, nil)
		wrong := make([]byte, DefaultSymbolSize)
		for i := range uint16(40) {
			h := wire.Header{Type: wire.TypeSymbol, Session: 1, Symbol: i, Block: 5, Number: wire.PacketNumber(1e9 + uint64(i)), Object: l.s.g.tag}
			a.conn.Inject(l.s.keys.current.seal(h.Append(nil), wrong, uint64(h.Number)))
		}
		l.verify(a)
		l.close()
		if a.r.Stats().Poisoned == 0 {
			t.Error("no poisoned block was counted")
		}
	})
}

func TestStartRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 13, 5*testBlock, func(c *Config) { c.MinMembers = 3; c.MaxWait = time.Minute })
		a, b := l.join("a", simnet.Link{}, simnet.Link{}, nil), l.join("b", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(30 * time.Second)
		if n := a.asm.Have() + b.asm.Have(); n != 0 {
			t.Fatalf("%d blocks were sent to two members before the third", n)
		}
		begin := time.Now()
		c := l.join("c", simnet.Link{}, simnet.Link{}, nil)
		for _, rc := range []*receiver{a, b, c} {
			l.verify(rc)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("after the third member it took %v", d)
		}
		l.close()
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 14, 5*testBlock, func(c *Config) { c.MinMembers = 3; c.MaxWait = time.Minute })
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
		l := newLab(t, 15, 60*testBlock, nil)
		l.net.SetUplink(100e6)
		stays, goes := l.join("stays", simnet.Link{}, simnet.Link{}, nil), l.join("goes", simnet.Link{}, simnet.Link{}, nil)
		time.Sleep(300 * time.Millisecond)
		if err := l.s.Kick(goes.m.ID); err != nil {
			t.Fatal(err)
		}
		<-goes.done
		<-stays.done
		if !errors.Is(goes.err, ErrKeys) || !errors.Is(stays.err, ErrKeys) {
			t.Fatalf("after the key changed members say %v and %v, want %v", goes.err, stays.err, ErrKeys)
		}
		if goes.asm.Complete() {
			t.Error("the kicked member has everything")
		}
		l.s.Leave(stays.m.ID, LeaveRequest{Reason: "joins again"})
		again := l.join("stays", simnet.Link{}, simnet.Link{}, stays.target)
		l.verify(again)
		l.close()
	})
}

// TestBottleneck has a link of a tenth of what the sender may send.
func TestBottleneck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 16, 300*testBlock, nil)
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
		if sent > 1.3 {
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
				l := newLab(t, 17, blocks*testBlock, func(c *Config) { c.KeepTogether = together })
				l.net.SetUplink(200e6)
				var fast []*receiver
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
					if !errors.Is(slow.err, ErrMoved) {
						t.Errorf("the slow member says %v, want %v", slow.err, ErrMoved)
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
		l := newLab(t, 24, 200*testBlock, nil)
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
		l := newLab(t, 18, 500*testBlock, nil)
		l.net.SetUplink(100e6)
		var all []*receiver
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

func (m busyMember) ReadGroup(handle func([]byte, time.Time)) error {
	return m.Member.ReadGroup(func(d []byte, at time.Time) {
		time.Sleep(m.each)
		handle(d, at)
	})
}

// TestBusyMember has one of four members with a slow processor: it holds the
// window back, until it is found out.
func TestBusyMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 19, 700*testBlock, nil)
		l.net.SetUplink(200e6)
		var fast []*receiver
		for i := range 3 {
			fast = append(fast, l.join(fmt.Sprint("fast ", i), simnet.Link{}, simnet.Link{}, nil))
		}
		l.wrap = func(m *simnet.Member) MemberConn { return busyMember{m, 500 * time.Microsecond} }
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
		if !errors.Is(slow.err, ErrMoved) {
			t.Errorf("the busy member says %v, want %v", slow.err, ErrMoved)
		}
		l.close()
	})
}

func TestStartAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 21, 5*testBlock, func(c *Config) {
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

func TestFullSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 22, 5*testBlock, func(c *Config) { c.MaxMembers = 2; c.MinMembers = 2 })
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
		l := newLab(t, 23, 400*testBlock, func(c *Config) { c.MinRate, c.MaxRate, c.MinMembers = 80e6, 100e6, 3 })
		slow := simnet.Link{Rate: 20e6}
		fast := l.join("fast", simnet.Link{}, simnet.Link{}, nil)
		x, y := l.join("x", slow, simnet.Link{}, nil), l.join("y", slow, simnet.Link{}, nil)
		l.verify(fast)
		if limit := 10 * time.Second; fast.took > limit {
			t.Errorf("took %v at a least rate of 80 Mbit/s, want at most %v", fast.took, limit)
		}
		for _, rc := range []*receiver{x, y} {
			<-rc.done
			if !errors.Is(rc.err, ErrMoved) {
				t.Errorf("member %s: %v, want %v", rc.name, rc.err, ErrMoved)
			}
			l.s.Leave(rc.m.ID, LeaveRequest{Complete: true})
		}
		l.close()
	})
}
