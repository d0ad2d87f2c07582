package sender

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
	"castpoint/multicast/receiver"
	"castpoint/test/objects"
)

// lab is a session on a simulated network. It lives in a synctest bubble.
type lab struct {
	t     *testing.T
	net   *simnet.Network
	obj   block.Object
	data  []byte
	s     *Session
	stop  context.CancelFunc
	end   chan error
	noAES bool                               // of members that join from now on
	wrap  func(*simnet.Member) receiver.Conn // of members that join from now on; nil for none
}

// defaultSilence is how long a receiver waits for the first datagram.
const defaultSilence = 5 * time.Second

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
	l.obj, l.data = objects.New(size, seed)
	l.serve(1, change)
	return l
}

// serve starts a session with the given id on the lab's network.
func (l *lab) serve(id uint32, change func(*Config)) {
	cfg := Config{
		ID: id, Objects: []block.Object{l.obj}, Sources: sourcesOf(l.data), Conn: l.net.Sender(),
		Group: testGroup, Feedback: netip.MustParseAddrPort("192.0.2.1:7800"), Source: simnet.Source,
		Linger: 2 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.s, l.stop = s, stop
	go func() { l.end <- s.Run(ctx) }()
}

// machine is one member of the lab.
type machine struct {
	name   string
	conn   *simnet.Member
	target *objects.Memory
	asm    *assembly.Assembly
	r      *receiver.Receiver
	m      multicast.Member
	err    error
	took   time.Duration
	done   chan struct{}
	cancel context.CancelFunc
}

// join admits a member and starts it. target may hold blocks already.
func (l *lab) join(name string, down, up simnet.Link, target *objects.Memory) *machine {
	l.t.Helper()
	if target == nil {
		target = &objects.Memory{}
	}
	rc := l.joinTo(name, down, up, target)
	rc.target = target
	return rc
}

// joinTo is join with any target.
func (l *lab) joinTo(name string, down, up simnet.Link, target assembly.Target) *machine {
	l.t.Helper()
	p, m, keys, err := l.s.Admit(Candidate{Name: name, AES: !l.noAES})
	if err != nil {
		l.t.Fatal(err)
	}
	asm, err := assembly.New([]block.Object{l.obj}, []assembly.Target{target})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, ok := target.(*objects.Memory); ok {
		if err := asm.Scan(context.Background(), nil); err != nil {
			l.t.Fatal(err)
		}
	}
	rc := &machine{name: name, conn: l.net.Member(down, up), asm: asm, m: m, done: make(chan struct{})}
	var conn receiver.Conn = rc.conn
	if l.wrap != nil {
		conn = l.wrap(rc.conn)
	}
	rc.r, err = receiver.New(receiver.Config{
		Admission: multicast.Admission{Objects: []block.Object{l.obj}, Session: p, Member: m, Keys: keys},
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
			s.Leave(m.ID, multicast.LeaveRequest{Complete: true, Repaired: rc.r.Stats().Repaired})
		}
	}()
	return rc
}

// verify waits for the member and checks what it has.
func (l *lab) verify(rc *machine) {
	l.t.Helper()
	<-rc.done
	if rc.err != nil {
		l.t.Errorf("member %s: %v", rc.name, rc.err)
		return
	}
	if !bytes.Equal(rc.target.B, l.data) {
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
