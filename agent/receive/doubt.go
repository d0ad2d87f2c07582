package receive

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/multicast"
)

// doubtPause is the time between two questions to the server about blocks.
const doubtPause = 2 * time.Second

// maxOthers is how many addresses of others wait for the server to be told of them. It is
// no matter of getting all: who makes them up has more.
const maxOthers = 8

// doubt asks about a block, numbered through all objects. It is nil unless the server
// says that the block is damaged there.
func (r *receive) doubt(ctx context.Context, block int) error {
	object, offset := r.asm.Place(block)
	o := &r.adm.Objects[object]
	err := r.client.Doubt(ctx, r.adm.Ticket, o.SHA256, multicast.Doubt{Block: int(offset / int64(o.BlockSize))})
	if p, ok := errors.AsType[*protocol.Problem](err); ok && p.Code == protocol.CodeDamaged {
		return fmt.Errorf("block %d came with a wrong hash: %w", block, err)
	}
	if err != nil {
		r.o.Log.Warn("block not doubted", zap.Int("block", block), zap.Error(err))
	}
	return nil
}

// doubts asks the server about blocks that a session brings with wrong hashes, beside
// the session, which ends when one is damaged, and tells it of addresses that send into
// the session and are not the server's.
type doubts struct {
	blocks chan int
	others chan netip.Addr
	cancel context.CancelCauseFunc
	asking sync.WaitGroup
	found  error // for who has waited for asking
}

func (r *receive) doubts(ctx context.Context) (context.Context, *doubts) {
	d := &doubts{blocks: make(chan int, 1), others: make(chan netip.Addr, maxOthers)}
	ctx, d.cancel = context.WithCancelCause(ctx)
	d.asking.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case b := <-d.blocks:
				if err := r.doubt(ctx, b); err != nil && ctx.Err() == nil {
					d.found = err
					d.cancel(err)
				}
			case from := <-d.others:
				if err := r.client.Doubt(ctx, r.adm.Ticket, r.adm.Objects[0].SHA256, multicast.Doubt{Source: from}); err != nil {
					r.o.Log.Warn("server not told of datagrams of others", zap.Stringer("peer", from), zap.Error(err))
				}
			}
			client.Sleep(ctx, doubtPause) // the end of ctx is seen in the next round
		}
	})
	return ctx, d
}

// about has the server asked about a block, unless it is being asked about another.
func (d *doubts) about(block int) {
	select {
	case d.blocks <- block:
	default:
	}
}

// tellInjected tells people and the server of an address that datagrams of the session come
// from and that is not the server's.
func (r *receive) tellInjected(d *doubts, from netip.Addr) {
	r.report(agent.Event{Kind: agent.EventInjected,
		Message: fmt.Sprintf("somebody at %s sends datagrams into the session, which comes from %s: they are dropped", from, r.adm.Session.Source)})
	select {
	case d.others <- from:
	default:
	}
}

// close ends the asking, and says what was found.
func (d *doubts) close() error {
	d.cancel(nil)
	d.asking.Wait()
	return d.found
}
