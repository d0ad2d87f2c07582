package receive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/multicast"
)

// doubtPause is the time between two questions to the server about blocks.
const doubtPause = 2 * time.Second

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
// the session, which ends when one is damaged.
type doubts struct {
	blocks chan int
	cancel context.CancelCauseFunc
	asking sync.WaitGroup
	found  error // for who has waited for asking
}

func (r *receive) doubts(ctx context.Context) (context.Context, *doubts) {
	d := &doubts{blocks: make(chan int, 1)}
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

// close ends the asking, and says what was found.
func (d *doubts) close() error {
	d.cancel(nil)
	d.asking.Wait()
	return d.found
}
