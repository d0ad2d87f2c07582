package multicast

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast/block"
)

// several makes objects of the given sizes.
func several(sizes ...int) (objects []block.Object, data [][]byte) {
	for i, n := range sizes {
		o, d := object(n, uint64(i+1))
		objects, data = append(objects, o), append(data, d)
	}
	return objects, data
}

// shipment is a session of several objects in a lab.
type shipment struct {
	*lab
	objects []block.Object
	data    [][]byte
}

func newShipment(t *testing.T, change func(*Config), sizes ...int) *shipment {
	s := &shipment{}
	s.objects, s.data = several(sizes...)
	s.lab = &lab{t: t, net: simnet.New(5), end: make(chan error, 1)}
	s.net.SetUplink(1e9)
	s.serve(1, func(c *Config) {
		c.Objects, c.Sources = s.objects, sourcesOf(s.data...)
		if change != nil {
			change(c)
		}
	})
	return s
}

// takes starts a member that wants some of the objects.
func (s *shipment) takes(name string, link simnet.Link, targets []Target) *receiver {
	s.t.Helper()
	objects := append([]block.Object(nil), s.objects...)
	for i := range objects {
		if targets[i] == nil {
			objects[i].Hashes = nil
		}
	}
	p, m, keys, err := s.s.Admit(Candidate{Name: name, AES: true})
	if err != nil {
		s.t.Fatal(err)
	}
	asm, err := NewAssembly(objects, targets)
	if err != nil {
		s.t.Fatal(err)
	}
	rc := &receiver{name: name, conn: s.net.Member(link, simnet.Link{}), asm: asm, m: m, done: make(chan struct{})}
	rc.r, err = NewReceiver(ReceiverConfig{Admission: Admission{Objects: objects, Session: p, Member: m, Keys: keys}, Assembly: asm, Conn: rc.conn})
	if err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	go func() {
		defer close(rc.done)
		if rc.err = rc.r.Run(context.Background()); rc.err == nil {
			rc.err = asm.Finish(context.Background())
		}
		rc.took = time.Since(begin)
		if rc.err == nil {
			s.s.Leave(m.ID, LeaveRequest{Complete: true})
		}
	}()
	return rc
}

// Members of one session want all objects or some of them; nobody waits for bytes
// that it does not want.
func TestSeveralObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := []int{30*testBlock + 5, 1, 0, 12 * testBlock, testBlock - 1}
		s := newShipment(t, func(c *Config) { c.MinMembers, c.MaxWait = 3, time.Second; c.MaxRate = 50e6 }, sizes...)
		link := simnet.Link{Loss: 0.02, Delay: time.Millisecond}
		wants := [][]int{{0, 1, 2, 3, 4}, {0}, {3, 4}}
		var members []*receiver
		var targets [][]Target
		for i, want := range wants {
			list := make([]Target, len(sizes))
			for _, o := range want {
				list[o] = &memory{}
			}
			targets = append(targets, list)
			members = append(members, s.takes(fmt.Sprint(i), link, list))
		}
		for i, rc := range members {
			<-rc.done
			if rc.err != nil {
				t.Fatalf("member %d: %v", i, rc.err)
			}
			for _, o := range wants[i] {
				if !bytes.Equal(targets[i][o].(*memory).b, s.data[o]) {
					t.Errorf("member %d has other bytes of object %d than were sent", i, o)
				}
			}
		}
		s.close()
		// Two of them want nothing in common. Which is sent first depends on whose report
		// comes first, and all come at the same time.
		if first := min(members[1].took, members[2].took); first > 3*members[0].took/4+time.Second/10 {
			t.Errorf("who wants one object waited %v, another %v, all took %v", members[1].took, members[2].took, members[0].took)
		}
		st := s.s.Status()
		if st.Objects != 5 || st.Size != int64(43*testBlock+5) || st.Blocks != 31+1+12+1 {
			t.Errorf("%+v", st)
		}
		if sent := float64(st.Sent) / float64(st.Size); sent > 1.15 {
			t.Errorf("%.2f of the objects were sent", sent)
		}
	})
}

// Objects that nobody wants are not sent.
func TestUnwantedObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShipment(t, nil, 20*testBlock, 10*testBlock, 20*testBlock)
		target := &memory{}
		rc := s.takes("one", simnet.Link{Loss: 0.01}, []Target{nil, target, nil})
		<-rc.done
		s.close()
		if rc.err != nil || !bytes.Equal(target.b, s.data[1]) {
			t.Error(rc.err)
		}
		if st := s.s.Status(); st.Sent > 11*testBlock {
			t.Errorf("%d bytes were sent for an object of %d", st.Sent, 10*testBlock)
		}
	})
}

// A program takes one object of a session that carries more.
func TestStreamOfOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShipment(t, nil, 40*testBlock, 30*testBlock+7, 5*testBlock)
		stream, err := NewStream(&s.objects[1], 8*testBlock)
		if err != nil {
			t.Fatal(err)
		}
		all := []Target{&memory{}, &memory{}, &memory{}}
		file := s.takes("file", simnet.Link{}, all)
		rc := s.takes("program", simnet.Link{Loss: 0.01}, []Target{nil, stream, nil})
		var out bytes.Buffer
		if err := stream.Run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		<-rc.done
		<-file.done
		s.close()
		if rc.err != nil || file.err != nil || !bytes.Equal(out.Bytes(), s.data[1]) {
			t.Error(rc.err, file.err)
		}
	})
}

// A member that comes to another session of the same objects keeps what it has.
func TestAdopt(t *testing.T) {
	objects, data := several(3*testBlock, 5*testBlock, 2*testBlock+1)
	put := func(a *Assembly, first, object, n int) {
		t.Helper()
		for b := range n {
			if err := a.Put(first+b, data[object][b*testBlock:min((b+1)*testBlock, len(data[object]))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	x, y := &memory{}, &memory{}
	old, err := NewAssembly(objects, []Target{nil, x, y})
	if err != nil {
		t.Fatal(err)
	}
	old.HashWhole()
	put(old, 3, 1, 5)
	put(old, 8, 2, 1)
	if old.Have() != 6 || old.Blocks() != 8 || old.Bytes() != 6*testBlock || old.Size() != 7*testBlock+1 {
		t.Error(old.Have(), old.Blocks(), old.Bytes(), old.Size())
	}
	next, err := NewAssembly([]block.Object{objects[2], objects[1]}, []Target{y, x})
	if err != nil {
		t.Fatal(err)
	}
	next.HashWhole()
	next.Adopt(old)
	if m := fmt.Sprint(next.Missing()); m != "[{1 2}]" {
		t.Errorf("missing %s, want the last two blocks of the first object", m)
	}
	put(next, 0, 2, 3)
	if err := next.Finish(t.Context()); err != nil || !bytes.Equal(x.b, data[1]) || !bytes.Equal(y.b, data[2]) {
		t.Error(err)
	}
}

func TestBadAssemblies(t *testing.T) {
	objects, _ := several(3*testBlock, 5*testBlock)
	stream, err := NewStream(&objects[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	odd := append([]block.Object(nil), objects...)
	odd[1].BlockSize /= 2
	odd[1].Hashes = nil
	bare := append([]block.Object(nil), objects...)
	bare[1].Hashes = nil
	for _, c := range []struct {
		objects []block.Object
		targets []Target
		want    string
	}{
		{objects, []Target{&memory{}}, "2 objects into 1"},
		{objects, []Target{&memory{}, stream}, "a stream takes one"},
		{odd, []Target{&memory{}, nil}, "cannot share"},
		{bare, []Target{&memory{}, &memory{}}, "without hashes"},
		{nil, nil, "nothing to transmit"},
	} {
		if _, err := NewAssembly(c.objects, c.targets); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want one with %q", err, c.want)
		}
	}
	if a, err := NewAssembly(bare, []Target{&memory{}, nil}); err != nil || a.Blocks() != 3 {
		t.Error(err)
	}
}

// TestManySmallObjects measures what a folder of very many small files costs on the
// wire: half a symbol for each, and its repair.
func TestManySmallObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files, size = 5000, 10_000
		s := &shipment{lab: &lab{t: t, net: simnet.New(5), end: make(chan error, 1)}}
		s.net.SetUplink(1e9)
		var sources []io.ReaderAt
		for i := range files {
			o, d := object(size, uint64(i))
			s.objects, sources = append(s.objects, o), append(sources, bytes.NewReader(d))
		}
		s.serve(1, func(c *Config) { c.Objects, c.Sources = s.objects, sources; c.MinMembers, c.MaxWait = 4, time.Second })
		var all []*receiver
		for i := range 4 {
			targets := make([]Target, files)
			for i := range targets {
				targets[i] = &memory{}
			}
			all = append(all, s.takes(fmt.Sprint(i), simnet.Link{Loss: 0.01, Delay: 200 * time.Microsecond}, targets))
		}
		for _, rc := range all {
			<-rc.done
			if rc.err != nil {
				t.Fatal(rc.err)
			}
		}
		s.close()
		st := s.s.Status()
		ideal := time.Duration(files * size * 8 / 1e9 * float64(time.Second))
		t.Logf("%d files of %d bytes: %.3f of their bytes were sent, in %v (their bytes alone need %v)", files, size, float64(st.Sent)/float64(st.Size), all[0].took, ideal)
		if sent := float64(st.Sent) / float64(st.Size); sent > 1.3 {
			t.Errorf("%.2f of the objects were sent", sent)
		}
	})
}
