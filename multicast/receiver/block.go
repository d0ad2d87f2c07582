package receiver

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
)

// assembling is a block on its way from symbols to bytes.
type assembling struct {
	block  uint32
	have   block.Symbols
	n      int  // symbols there, known zeros included
	queued bool // with a worker
	source []byte
	repair []byte // allocated with the first repair symbol
	coded  int    // repair symbols there
}

// finished is what a worker says about a block.
type finished struct {
	a   *assembling
	err error
}

// dispatch takes the blocks that the last read has filled to where they are
// finished. One at a time is finished right here: its bytes are in this processor's
// cache, and nobody has to be woken. That is all there is to do as long as
// processor and disk keep up. More than one at a time are a sign that they do not,
// and are shared with the routines.
func (r *Receiver) dispatch() error {
	if len(r.full) == 0 {
		return nil
	}
	now := time.Now()
	here := r.full[:1]
	if now.Before(r.inline) || len(r.work) > 0 {
		here = nil
	}
	for _, a := range r.full[len(here):] {
		r.work <- a // never blocks: there are not more blocks than places
	}
	r.full = r.full[:0]
	for _, a := range here {
		f := r.complete(a, &r.shards)
		if took := time.Since(now); took > inlineWrite {
			r.inline = now.Add(took + inlineRest)
		}
		if err := r.finish(f); err != nil {
			return err
		}
	}
	return nil
}

// begin prepares a buffer for a block.
func (r *Receiver) begin(a *assembling, b uint32) {
	if a.source == nil {
		a.source = make([]byte, r.g.K*r.g.SymbolSize)
	}
	a.block, a.n, a.coded, a.queued, a.have = b, 0, 0, false, block.Symbols{}
	source := r.g.Source(int(b))
	if source < r.g.K {
		clear(a.source[source*r.g.SymbolSize:])
		for i := source; i < r.g.K; i++ {
			a.have.Add(i)
			a.n++
		}
	}
	r.blocks[b] = a
}

// place is where symbol i belongs: empty, with the capacity of one symbol.
func (a *assembling) place(g *block.Geometry, i int) []byte {
	buf := a.source
	if i >= g.K {
		if a.repair == nil {
			a.repair = make([]byte, g.M*g.SymbolSize)
		}
		buf, i = a.repair, i-g.K
	}
	return buf[i*g.SymbolSize : i*g.SymbolSize : (i+1)*g.SymbolSize]
}

// routineFinish finishes the blocks that are given to it.
func (r *Receiver) routineFinish(ctx context.Context) {
	var shards [][]byte
	for {
		var a *assembling
		select {
		case <-ctx.Done():
			return
		case a = <-r.work:
		}
		r.done <- r.complete(a, &shards) // never blocks: there are not more blocks than places
	}
}

// complete rebuilds, verifies and writes one block.
func (r *Receiver) complete(a *assembling, shards *[][]byte) finished {
	var err error
	if a.coded > 0 {
		*shards, err = r.code.Decode(*shards, a.source, a.repair, &a.have)
	}
	if err == nil {
		err = r.cfg.Assembly.Put(int(a.block), a.source[:r.g.Length(int(a.block))])
	}
	r.backlog.Add(-int64(r.g.BlockSize))
	return finished{a, err}
}

// finish takes a block back from its worker.
func (r *Receiver) finish(f finished) error {
	delete(r.blocks, f.a.block)
	switch {
	case f.err == nil:
		if f.a.coded > 0 {
			r.stats.Repaired++
		}
	case errors.Is(f.err, assembly.ErrBlock):
		// A member holds the group key and can make authentic symbols with wrong
		// bytes. The block starts again.
		r.stats.Poisoned++
		r.log.Warn("block of authentic symbols has the wrong hash", zap.Uint32("block", f.a.block))
		if r.poisoned[f.a.block]++; r.poisoned[f.a.block] > 1 && r.cfg.Doubt != nil {
			r.cfg.Doubt(int(f.a.block))
		}
	default:
		return f.err
	}
	r.free = append(r.free, f.a)
	return nil
}
