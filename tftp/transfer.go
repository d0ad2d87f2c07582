package tftp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"castpoint/tftp/flow"
	"castpoint/tftp/wire"
)

// repeatTime is how long a request from the same port, byte for byte the same, is
// taken for a repetition of one that is being served: clients repeat after 1 to 4
// seconds, and networks double packets.
const repeatTime = 5 * time.Second

// transfer is one accepted request from its start to its event.
type transfer struct {
	s       *Server
	l       *listener
	key     tid
	id      uint64
	raw     string // the request datagram
	req     Request
	client  *client
	started time.Time

	heard  atomic.Int64 // nanoseconds from the start to the client's last datagram
	ctx    context.Context
	cancel context.CancelCauseFunc
	inbox  atomic.Pointer[loopLink] // single-port mode: where its datagrams go
	moved  atomic.Bool              // the client has asked for something else since

	terms wire.Terms
	stats flow.Stats
}

// repeats tells whether a request datagram is the one of this transfer again.
func (t *transfer) repeats(raw []byte, now time.Time) bool {
	return t.raw == string(raw) &&
		(now.Sub(t.started) < repeatTime || now.Sub(t.started)-time.Duration(t.heard.Load()) < repeatTime)
}

// serve carries the transfer out and reports it.
func (t *transfer) serve() {
	defer t.s.release(t)
	path, err := cleanName(t.req.Name)
	if err != nil {
		t.refuse(err)
		return
	}
	t.req.Path = path
	if t.req.Write {
		t.serveWrite(t.ctx)
		return
	}
	t.serveRead(t.ctx)
}

func (t *transfer) serveRead(ctx context.Context) {
	file, err := t.s.cfg.Open(ctx, t.req)
	if err != nil {
		t.refuse(err)
		return
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.s.log.Warn("close after transfer", zap.String("file", t.req.Path), zap.Error(err))
		}
	}()
	lnk, err := t.l.link(ctx, t)
	if err != nil {
		t.refuse(fmt.Errorf("make a socket from %s to %s: %w", t.req.Local.Addr(), t.req.Peer, err))
		return
	}
	defer func() { _ = lnk.close() }()
	defer context.AfterFunc(ctx, lnk.interrupt)()

	sender := t.newSender(lnk, file)
	t.report(Started, nil)
	lnk.do(func() { err = sender.Run(ctx) })
	t.end(lnk, err)
}

// newSender negotiates a read request and makes its sender.
func (t *transfer) newSender(lnk *loopLink, file File) *flow.Sender {
	size := file.Size()
	told := size
	if t.req.Mode == wire.Netascii {
		told = -1 // the converted size is not known before all is converted
	}
	var answer []wire.Option
	t.terms, answer = wire.Negotiate(t.req.Options, false, wire.Bounds{
		BlockSize: t.s.blockLimit(t.req.Peer.Addr(), lnk.pathMTU()), Window: t.s.cfg.MaxWindow, Size: told,
	})
	t.stats = flow.Stats{Size: size}
	sending := flow.Sending{
		Link: lnk, File: file, Size: size, Mode: t.req.Mode, Terms: t.terms, Idle: t.s.cfg.IdleTimeout,
		Limiters: []*rate.Limiter{t.s.rate, t.client.rate}, Heard: t.hear, Moved: t.moved.Load, Stats: &t.stats,
	}
	if len(answer) > 0 {
		sending.OACK = wire.AppendOACK(nil, answer)
	}
	return flow.NewSender(sending)
}

// hear notes that the client is there.
func (t *transfer) hear() { t.heard.Store(int64(time.Since(t.started))) }

// end tells the client how the transfer ended, when it does not know, and
// reports it.
func (t *transfer) end(lnk *loopLink, err error) {
	t.stats.Duration = time.Since(t.started)
	if err == nil {
		t.report(Finished, nil)
		return
	}
	var peer *wire.PeerError
	byPeer := errors.As(err, &peer)
	// Firmware asks for the size, learns it, and says "aborted": EDK2 and the
	// Windows boot manager by error 8, others by error 0, some by closing the port.
	if !t.req.Write && t.terms.Size && t.stats.Sent == 0 &&
		(byPeer && (peer.Code == wire.CodeOptions || peer.Code == wire.CodeUndefined) || errors.Is(err, flow.ErrPeerClosed)) {
		t.report(Probe, nil)
		return
	}
	// A client that went away is not told, nor one that has begun anew: it would
	// take the error for an answer to its new request.
	if !byPeer && !errors.Is(err, flow.ErrPeerClosed) && !errors.Is(err, ErrReplaced) {
		code, text := describe(err, t.req.Path)
		_ = lnk.Send(wire.AppendError(nil, code, text))
	}
	t.report(Aborted, err)
}

// report logs and publishes an event of the transfer.
func (t *transfer) report(kind Kind, err error) {
	e := Event{
		Kind: kind, Time: time.Now(), Transfer: t.id, Request: t.req, Terms: t.terms, Err: err,
	}
	if kind != Started {
		e.Stats = t.stats
	}
	t.s.publish(e)
}

// publish logs an event and hands it to the observer.
func (s *Server) publish(e Event) {
	fields := []zap.Field{
		zap.String("file", e.Request.Path), zap.Stringer("peer", e.Request.Peer),
	}
	switch e.Kind {
	case Started:
		s.log.Debug("transfer started", append(fields,
			zap.Int("blksize", e.Terms.BlockSize), zap.Int("windowsize", e.Terms.Window))...)
	case Finished:
		s.log.Info("transfer finished", append(fields,
			zap.Int64("bytes", e.Stats.Bytes), zap.Duration("took", e.Stats.Duration),
			zap.Float64("bytes_per_second", e.Stats.Rate()), zap.Int64("retransmitted", e.Stats.Retransmitted),
			zap.Int("blksize", e.Terms.BlockSize), zap.Int("windowsize", e.Terms.Window),
			zap.Bool("confirmed", e.Stats.Confirmed))...)
	case Probe:
		s.log.Debug("size probe", append(fields, zap.Int64("size", e.Stats.Size))...)
	case Aborted:
		s.log.Warn("transfer aborted", append(fields,
			zap.Int64("bytes", e.Stats.Bytes), zap.Int64("size", e.Stats.Size),
			zap.Duration("took", e.Stats.Duration), zap.Int("timeouts", e.Stats.Timeouts), zap.Error(e.Err))...)
	case Refused:
		fields = append(fields, zap.String("name", wire.Printable(e.Request.Name, maxName)), zap.Error(e.Err))
		switch {
		case e.Ordinary && strings.HasSuffix(strings.ToLower(e.Request.Path), "skusipolicy.p7b"):
			// A device that took the mitigation of KB5042562 compares this file with its
			// firmware, and without it goes on to the next boot option in silence.
			s.log.Info("request refused, which only matters to devices with the VBS rollback mitigation", fields...)
		case e.Ordinary:
			s.log.Debug("request refused, as in every boot", fields...)
		default:
			s.log.Warn("request refused", fields...)
		}
	}
	s.cfg.Observer(e)
}

// refuse ends a transfer that has not begun. When it was interrupted before, that
// is the reason.
func (t *transfer) refuse(err error) {
	if cause := context.Cause(t.ctx); cause != nil {
		err = cause
	}
	t.s.refuse(t.l, t.req, err)
}

// refuse answers a request with an ERROR and reports it.
func (s *Server) refuse(l *listener, req Request, err error) {
	name := req.Path
	if name == "" {
		name = req.Name
	}
	code, text := describe(err, name)
	if !errors.Is(err, ErrReplaced) { // the client would take it for an answer to its new request
		l.answer(req, wire.AppendError(nil, code, text))
	}
	s.publish(Event{
		Kind: Refused, Time: time.Now(), Request: req, Err: err,
		Ordinary: code == wire.CodeNotFound && !req.Write && ordinaryMiss(req.Path),
	})
}

// blockLimit is the largest block size for a client: what one IP packet of the
// path carries behind the IP, UDP and TFTP headers, unless fragments are allowed.
func (s *Server) blockLimit(peer netip.Addr, mtu int) int {
	limit := s.cfg.MaxBlockSize
	if !s.cfg.Fragment {
		limit = min(limit, max(payloadRoom(peer, mtu)-wire.HeaderSize, wire.DefaultBlockSize))
	}
	return limit
}
