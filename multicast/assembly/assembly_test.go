package assembly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"castpoint/multicast/block"
	"castpoint/test/objects"
)

func TestAssembly(t *testing.T) {
	obj, data := objects.New(10*objects.BlockSize+777, 1)
	target := &objects.Memory{}
	a, err := New([]block.Object{obj}, []Target{target})
	if err != nil {
		t.Fatal(err)
	}
	a.HashWhole()
	part := func(b int) []byte { return data[b*objects.BlockSize : min((b+1)*objects.BlockSize, len(data))] }
	if err := a.Put(3, part(4)); !errors.Is(err, ErrBlock) {
		t.Errorf("another block's bytes: %v, want %v", err, ErrBlock)
	}
	for _, b := range []int{-1, 11} {
		if err := a.Put(b, part(0)); !errors.Is(err, ErrBlock) {
			t.Errorf("block %d of 11: %v, want %v", b, err, ErrBlock)
		}
	}
	if err := a.Put(10, part(0)); !errors.Is(err, ErrBlock) {
		t.Errorf("last block of full size: %v, want %v", err, ErrBlock)
	}
	if len(target.B) != 0 {
		t.Errorf("%d bytes were written before a block was right", len(target.B))
	}
	if err := a.Finish(context.Background()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("finish of nothing: %v, want %v", err, ErrIncomplete)
	}
	var wg sync.WaitGroup
	for b := a.Blocks() - 1; b >= 0; b-- {
		wg.Go(func() {
			if err := a.Put(b, part(b)); err != nil {
				t.Error(err)
			}
		})
		if b == 7 {
			wg.Wait()
			if m := a.Missing(); len(m) != 1 || m[0] != (Range{0, 7}) {
				t.Errorf("missing %v, want blocks 0 to 6", m)
			}
		}
	}
	wg.Wait()
	<-a.Done()
	if err := a.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(target.B, data) {
		t.Error("target has other bytes than the object")
	}
}

func TestScan(t *testing.T) {
	obj, data := objects.New(10*objects.BlockSize+777, 2)
	half := append([]byte(nil), data[:6*objects.BlockSize+5]...)
	half[2*objects.BlockSize+9] ^= 1
	a, err := New([]block.Object{obj}, []Target{&objects.Memory{B: half}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Scan(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	m := a.Missing()
	if a.Have() != 5 || len(m) != 2 || m[0] != (Range{2, 1}) || m[1] != (Range{6, 5}) {
		t.Errorf("scan of six blocks, the third damaged, and a bit: has %d, misses %v", a.Have(), m)
	}
}

func TestDigestContradicts(t *testing.T) {
	obj, data := objects.New(2*objects.BlockSize, 3)
	obj.Digest[0] ^= 1
	a, err := New([]block.Object{obj}, []Target{&objects.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	for b := range 2 {
		if err := a.Put(b, data[b*objects.BlockSize:(b+1)*objects.BlockSize]); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Finish(context.Background()); err != nil {
		t.Errorf("blocks that are right, and nobody asked for the whole: %v", err)
	}
	if a, err = New([]block.Object{obj}, []Target{&objects.Memory{B: data}}); err != nil {
		t.Fatal(err)
	}
	a.HashWhole()
	if err := a.Scan(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Finish(context.Background()); !errors.Is(err, ErrDigest) {
		t.Errorf("blocks that are right under a wrong digest: %v, want %v", err, ErrDigest)
	}
}

// brokenDisk fails at the third write, as a full disk does.
type brokenDisk struct {
	objects.Memory
	writes int
}

var errFull = errors.New("no space left on device")

func (d *brokenDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.writes++; d.writes > 2 {
		return 0, errFull
	}
	return d.Memory.WriteAt(p, off)
}

func TestDiskFails(t *testing.T) {
	obj, data := objects.New(4*objects.BlockSize, 4)
	a, err := New([]block.Object{obj}, []Target{&brokenDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	for b := range 4 {
		err := a.Put(b, data[b*objects.BlockSize:(b+1)*objects.BlockSize])
		if b < 2 && err != nil || b >= 2 && !errors.Is(err, errFull) {
			t.Errorf("block %d: %v", b, err)
		}
	}
	if a.Have() != 2 {
		t.Errorf("%d blocks count as written, two are", a.Have())
	}
}

func TestBadObjects(t *testing.T) {
	good, _ := objects.New(3*objects.BlockSize, 5)
	for name, change := range map[string]func(*block.Object){
		"empty":          func(o *block.Object) { o.Size = 0 },
		"negative":       func(o *block.Object) { o.Size = -1 },
		"too large":      func(o *block.Object) { o.Size = 1 << 62 },
		"no block size":  func(o *block.Object) { o.BlockSize = 0 },
		"huge block":     func(o *block.Object) { o.BlockSize = 1 << 30 },
		"hashes missing": func(o *block.Object) { o.Hashes = o.Hashes[:32] },
		"odd hashes":     func(o *block.Object) { o.Hashes = o.Hashes[:95] },
	} {
		o := good
		change(&o)
		if _, err := New([]block.Object{o}, []Target{&objects.Memory{}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A member that comes to another session of the same list keeps what it has.
func TestAdopt(t *testing.T) {
	list, data := objects.Several(3*objects.BlockSize, 5*objects.BlockSize, 2*objects.BlockSize+1)
	put := func(a *Assembly, first, object, n int) {
		t.Helper()
		for b := range n {
			if err := a.Put(first+b, data[object][b*objects.BlockSize:min((b+1)*objects.BlockSize, len(data[object]))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	x, y := &objects.Memory{}, &objects.Memory{}
	old, err := New(list, []Target{nil, x, y})
	if err != nil {
		t.Fatal(err)
	}
	old.HashWhole()
	put(old, 3, 1, 5)
	put(old, 8, 2, 1)
	if old.Have() != 6 || old.Blocks() != 8 || old.Bytes() != 6*objects.BlockSize || old.Size() != 7*objects.BlockSize+1 {
		t.Error(old.Have(), old.Blocks(), old.Bytes(), old.Size())
	}
	next, err := New([]block.Object{list[2], list[1]}, []Target{y, x})
	if err != nil {
		t.Fatal(err)
	}
	next.HashWhole()
	next.Adopt(old)
	if m := fmt.Sprint(next.Missing()); m != "[{1 2}]" {
		t.Errorf("missing %s, want the last two blocks of the first object", m)
	}
	put(next, 0, 2, 3)
	if err := next.Finish(t.Context()); err != nil || !bytes.Equal(x.B, data[1]) || !bytes.Equal(y.B, data[2]) {
		t.Error(err)
	}
}

func TestBadAssemblies(t *testing.T) {
	list, _ := objects.Several(3*objects.BlockSize, 5*objects.BlockSize)
	stream, err := NewStream(&list[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	odd := append([]block.Object(nil), list...)
	odd[1].BlockSize /= 2
	odd[1].Hashes = nil
	bare := append([]block.Object(nil), list...)
	bare[1].Hashes = nil
	for _, c := range []struct {
		objects []block.Object
		targets []Target
		want    string
	}{
		{list, []Target{&objects.Memory{}}, "2 objects into 1"},
		{list, []Target{&objects.Memory{}, stream}, "a stream takes one"},
		{odd, []Target{&objects.Memory{}, nil}, "cannot share"},
		{bare, []Target{&objects.Memory{}, &objects.Memory{}}, "without hashes"},
		{nil, nil, "nothing to transmit"},
	} {
		if _, err := New(c.objects, c.targets); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want one with %q", err, c.want)
		}
	}
	if a, err := New(bare, []Target{&objects.Memory{}, nil}); err != nil || a.Blocks() != 3 {
		t.Error(err)
	}
}
