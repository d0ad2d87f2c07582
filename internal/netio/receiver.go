//go:build !windows

package netio

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// GroupReceiver is a member's end of a session: datagrams of the group in,
// reports out. ReadGroup may run at the same time as WriteReport.
type GroupReceiver struct {
	feedback *net.UDPConn
	ifi      *net.Interface
	group    netip.Addr
	reader   batchReader
}

// OpenGroupReceiver joins the group.
func OpenGroupReceiver(cfg GroupReceiverConfig) (*GroupReceiver, error) {
	ifi, err := cfg.joinInterface()
	if err != nil {
		return nil, err
	}
	group, err := listenGroup(cfg.Group)
	if err != nil {
		return nil, fmt.Errorf("join group %s: listen on UDP port %d: %w", cfg.Group.Addr(), cfg.Group.Port(), err)
	}
	at := &net.UDPAddr{IP: cfg.Group.Addr().AsSlice()}
	if cfg.Group.Addr().Is4() {
		err = ipv4.NewPacketConn(group).JoinGroup(ifi, at)
	} else {
		err = ipv6.NewPacketConn(group).JoinGroup(ifi, at)
	}
	if err != nil {
		_ = group.Close()
		return nil, fmt.Errorf("join group %s on interface %s: %w", cfg.Group.Addr(), ifi.Name, err)
	}
	growReceiveBuffer(group, receiveBuffer)
	feedback, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(cfg.Feedback))
	if err != nil {
		_ = group.Close()
		return nil, fmt.Errorf("open feedback to %s: %w", cfg.Feedback, err)
	}
	r := &GroupReceiver{feedback: feedback, ifi: ifi, group: cfg.Group.Addr()}
	if err := r.reader.open(group, cfg.SampleArrivals); err != nil {
		_ = feedback.Close()
		return nil, fmt.Errorf("join group %s: %w", cfg.Group.Addr(), err)
	}
	return r, nil
}

// Interface is the interface the group was joined on.
func (r *GroupReceiver) Interface() *net.Interface { return r.ifi }

// ReadGroup waits for datagrams and hands each of them, with the address that it says it
// came from and the time when it arrived at the host, zero where it was not asked for, to
// handle, which must not keep it. It returns after at least one, or with an error that satisfies
// os.ErrDeadlineExceeded or net.ErrClosed.
func (r *GroupReceiver) ReadGroup(handle func(datagram []byte, from netip.Addr, at time.Time)) error {
	return r.reader.read(handle)
}

// Rejoin leaves the group and joins it again: hosts tell the network which groups they
// want when they join, and otherwise only when a querier asks. It is for a network that
// has forgotten this member.
func (r *GroupReceiver) Rejoin() error {
	if err := r.reader.rejoin(r.ifi, r.group); err != nil {
		return fmt.Errorf("join group %s on interface %s again: %w", r.group, r.ifi.Name, err)
	}
	return nil
}

// SetReadDeadline bounds ReadGroup.
func (r *GroupReceiver) SetReadDeadline(t time.Time) error {
	r.reader.setDeadline(t)
	return nil
}

// WriteReport sends one datagram to the session's feedback address.
func (r *GroupReceiver) WriteReport(b []byte) error {
	_, err := r.feedback.Write(b)
	return err
}

// Close leaves the group.
func (r *GroupReceiver) Close() error {
	return firstError(r.reader.close(), r.feedback.Close())
}
