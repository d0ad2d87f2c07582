package sender

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/internal/simnet"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
	"castpoint/multicast/receiver"
	"castpoint/test/objects"
)

// shipment is a session of several objects in a lab.
type shipment struct {
	*lab
	objects []block.Object
	data    [][]byte
}

func newShipment(t *testing.T, change func(*Config), sizes ...int) *shipment {
	s := &shipment{}
	s.objects, s.data = objects.Several(sizes...)
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
func (s *shipment) takes(name string, link simnet.Link, targets []assembly.Target) *machine {
	s.t.Helper()
	list := append([]block.Object(nil), s.objects...)
	for i := range list {
		if targets[i] == nil {
			list[i].Hashes = nil
		}
	}
	p, m, keys, err := s.s.Admit(Candidate{Name: name, AES: true})
	if err != nil {
		s.t.Fatal(err)
	}
	asm, err := assembly.New(list, targets)
	if err != nil {
		s.t.Fatal(err)
	}
	rc := &machine{name: name, conn: s.net.Member(link, simnet.Link{}), asm: asm, m: m, done: make(chan struct{})}
	rc.r, err = receiver.New(receiver.Config{Admission: multicast.Admission{Objects: list, Session: p, Member: m, Keys: keys}, Assembly: asm, Conn: rc.conn})
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
			s.s.Leave(m.ID, multicast.LeaveRequest{Complete: true})
		}
	}()
	return rc
}

// Members of one session want all objects or some of them; nobody waits for bytes
// that it does not want.
func TestSeveralObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := []int{30*objects.BlockSize + 5, 1, 0, 12 * objects.BlockSize, objects.BlockSize - 1}
		s := newShipment(t, func(c *Config) { c.MinMembers, c.MaxWait = 3, time.Second; c.MaxRate = 50e6 }, sizes...)
		link := simnet.Link{Loss: 0.02, Delay: time.Millisecond}
		wants := [][]int{{0, 1, 2, 3, 4}, {0}, {3, 4}}
		var members []*machine
		var targets [][]assembly.Target
		for i, want := range wants {
			list := make([]assembly.Target, len(sizes))
			for _, o := range want {
				list[o] = &objects.Memory{}
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
				if !bytes.Equal(targets[i][o].(*objects.Memory).B, s.data[o]) {
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
		if st.Objects != 5 || st.Size != int64(43*objects.BlockSize+5) || st.Blocks != 31+1+12+1 {
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
		s := newShipment(t, nil, 20*objects.BlockSize, 10*objects.BlockSize, 20*objects.BlockSize)
		target := &objects.Memory{}
		rc := s.takes("one", simnet.Link{Loss: 0.01}, []assembly.Target{nil, target, nil})
		<-rc.done
		s.close()
		if rc.err != nil || !bytes.Equal(target.B, s.data[1]) {
			t.Error(rc.err)
		}
		if st := s.s.Status(); st.Sent > 11*objects.BlockSize {
			t.Errorf("%d bytes were sent for an object of %d", st.Sent, 10*objects.BlockSize)
		}
	})
}

// A program takes one object of a session that carries more.
func TestStreamOfOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShipment(t, nil, 40*objects.BlockSize, 30*objects.BlockSize+7, 5*objects.BlockSize)
		stream, err := assembly.NewStream(&s.objects[1], 8*objects.BlockSize)
		if err != nil {
			t.Fatal(err)
		}
		all := []assembly.Target{&objects.Memory{}, &objects.Memory{}, &objects.Memory{}}
		file := s.takes("file", simnet.Link{}, all)
		rc := s.takes("program", simnet.Link{Loss: 0.01}, []assembly.Target{nil, stream, nil})
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

// TestManySmallObjects measures what a folder of very many small files costs on the
// wire: half a symbol for each, and its repair.
func TestManySmallObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files, size = 5000, 10_000
		s := &shipment{lab: &lab{t: t, net: simnet.New(5), end: make(chan error, 1)}}
		s.net.SetUplink(1e9)
		var sources []io.ReaderAt
		for i := range files {
			o, d := objects.New(size, uint64(i))
			s.objects, sources = append(s.objects, o), append(sources, bytes.NewReader(d))
		}
		s.serve(1, func(c *Config) { c.Objects, c.Sources = s.objects, sources; c.MinMembers, c.MaxWait = 4, time.Second })
		var all []*machine
		for i := range 4 {
			targets := make([]assembly.Target, files)
			for i := range targets {
				targets[i] = &objects.Memory{}
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
