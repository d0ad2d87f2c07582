package multicast

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"castpoint/multicast/block"
)

func TestAssembly(t *testing.T) {
	obj, data := object(10*testBlock+777, 1)
	target := &memory{}
	a, err := NewAssembly([]block.Object{obj}, []Target{target})
	if err != nil {
		t.Fatal(err)
	}
	a.HashWhole()
	part := func(b int) []byte { return data[b*testBlock : min((b+1)*testBlock, len(data))] }
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
	if len(target.b) != 0 {
		t.Errorf("%d bytes were written before a block was right", len(target.b))
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
	if !bytes.Equal(target.b, data) {
		t.Error("target has other bytes than the object")
	}
}

func TestScan(t *testing.T) {
	obj, data := object(10*testBlock+777, 2)
	half := append([]byte(nil), data[:6*testBlock+5]...)
	half[2*testBlock+9] ^= 1
	a, err := NewAssembly([]block.Object{obj}, []Target{&memory{b: half}})
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
	obj, data := object(2*testBlock, 3)
	obj.Digest[0] ^= 1
	a, err := NewAssembly([]block.Object{obj}, []Target{&memory{}})
	if err != nil {
		t.Fatal(err)
	}
	for b := range 2 {
		if err := a.Put(b, data[b*testBlock:(b+1)*testBlock]); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Finish(context.Background()); err != nil {
		t.Errorf("blocks that are right, and nobody asked for the whole: %v", err)
	}
	if a, err = NewAssembly([]block.Object{obj}, []Target{&memory{b: data}}); err != nil {
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
	memory
	writes int
}

var errFull = errors.New("no space left on device")

func (d *brokenDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.writes++; d.writes > 2 {
		return 0, errFull
	}
	return d.memory.WriteAt(p, off)
}

func TestDiskFails(t *testing.T) {
	obj, data := object(4*testBlock, 4)
	a, err := NewAssembly([]block.Object{obj}, []Target{&brokenDisk{}})
	if err != nil {
		t.Fatal(err)
	}
	for b := range 4 {
		err := a.Put(b, data[b*testBlock:(b+1)*testBlock])
		if b < 2 && err != nil || b >= 2 && !errors.Is(err, errFull) {
			t.Errorf("block %d: %v", b, err)
		}
	}
	if a.Have() != 2 {
		t.Errorf("%d blocks count as written, two are", a.Have())
	}
}

func TestBadObjects(t *testing.T) {
	good, _ := object(3*testBlock, 5)
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
		if _, err := NewAssembly([]block.Object{o}, []Target{&memory{}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
