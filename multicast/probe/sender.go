package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"castpoint/multicast/rate"
	"castpoint/multicast/seal"
	"castpoint/multicast/wire"
)

// Conn is the edge that trains leave by.
type Conn interface {
	// WriteGroup sends b to the group as datagrams of size bytes each.
	WriteGroup(b []byte, size int) error
	// WriteTo sends one datagram to a machine.
	WriteTo(b []byte, to netip.AddrPort) error
}

// Sender sends the trains of one probe.
type Sender struct {
	offer Offer
	conn  Conn
	seal  *seal.Sealer
	start time.Time

	mu     sync.Mutex // trains go out one after the other
	number uint64
}

// NewSender makes a probe's key and puts it into the offer.
func NewSender(offer Offer, conn Conn) (*Sender, Offer, error) {
	key, err := seal.NewGroupKey(0, seal.AES256GCM)
	if err != nil {
		return nil, offer, err
	}
	offer.Key = key.Key
	return &Sender{offer: offer, conn: conn, seal: key.Sealer, start: time.Now()}, offer, nil
}

// Send sends a train that Check accepts; to is where one by unicast goes.
func (p *Sender) Send(ctx context.Context, t Train, to netip.Addr) (Sent, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := t.Size - Overhead(p.offer.Group.Addr())
	zeros := make([]byte, size-wire.ProbeSize-wire.TagSize)
	per := max(t.Burst, 1)
	buf := make([]byte, 0, per*size)
	began := time.Now()
	var sent Sent
	pace := rate.NewPacer(began)
	for sent.Count < t.Count {
		n := min(per, t.Count-sent.Count)
		if d := pace.Reserve(time.Now(), n*t.Size, t.Rate, 0); d > 0 {
			select {
			case <-ctx.Done():
				return sent, ctx.Err()
			case <-time.After(d):
			}
		}
		buf = buf[:0]
		for i := range n {
			p.number++
			h := wire.Probe{ID: p.offer.ID, Number: wire.PacketNumber(p.number), Train: t.Train,
				Index: uint32(sent.Count + i), Sent: uint32(time.Since(p.start).Microseconds())}
			at := len(buf)
			d := p.seal.Seal(h.Append(buf[at:at:at+size]), zeros, p.number)
			buf = buf[:at+len(d)]
		}
		err := ctx.Err()
		if err == nil && t.Unicast {
			for d := range slices.Chunk(buf, size) {
				if err = p.conn.WriteTo(d, netip.AddrPortFrom(to, p.offer.Group.Port())); err != nil {
					break
				}
			}
		} else if err == nil {
			err = p.conn.WriteGroup(buf, size)
		}
		if err != nil {
			return sent, fmt.Errorf("send probe: %w", err)
		}
		sent.Count += n
	}
	sent.Seconds = time.Since(began).Seconds()
	return sent, nil
}
