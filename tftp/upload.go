package tftp

import (
	"context"
	"fmt"
	"strconv"

	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
)

var errNoUploads = fmt.Errorf("%w: this server does not take uploads", ErrForbidden)

// serveWrite carries out a write request.
func (t *transfer) serveWrite(ctx context.Context) {
	if t.s.cfg.Create == nil {
		t.refuse(errNoUploads)
		return
	}
	size := int64(-1)
	if v, ok := t.req.Option("tsize"); ok {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			size = n
		}
	}
	if size > t.s.cfg.MaxUpload {
		t.refuse(tooLarge(t.s.cfg.MaxUpload))
		return
	}
	lnk, err := t.l.link(ctx, t)
	if err != nil {
		t.refuse(fmt.Errorf("make a socket from %s to %s: %w", t.req.Local.Addr(), t.req.Peer, err))
		return
	}
	defer func() { _ = lnk.close() }()
	defer context.AfterFunc(ctx, lnk.interrupt)()
	upload, err := t.s.cfg.Create(ctx, t.req)
	if err != nil {
		t.refuse(err)
		return
	}

	block := t.s.blockLimit(t.req.Peer.Addr(), lnk.pathMTU())
	if t.s.cfg.SinglePort {
		block = min(block, inboxBytes-wire.HeaderSize)
	}
	var answer []wire.Option
	t.terms, answer = wire.Negotiate(t.req.Options, true, wire.Bounds{BlockSize: block, Window: t.s.cfg.MaxWindow, Size: -1})
	t.stats = flow.Stats{Size: size}
	first := wire.AppendAck(nil, 0)
	if len(answer) > 0 {
		first = wire.AppendOACK(nil, answer)
	}
	w := flow.NewReceiver(flow.Receiving{
		Link: lnk, To: upload, Commit: upload.Commit, Mode: t.req.Mode, Terms: t.terms, First: first,
		Idle: t.s.cfg.IdleTimeout, Limit: t.s.cfg.MaxUpload, TooLarge: tooLarge(t.s.cfg.MaxUpload),
		Heard: t.hear, Stats: &t.stats,
	})
	t.report(Started, nil)
	lnk.do(func() { err = w.Run(ctx) })
	if err != nil {
		upload.Abort()
	}
	t.end(lnk, err)
	if err == nil {
		lnk.do(w.Dally)
	}
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: uploads may have %d bytes", ErrNoSpace, limit)
}
