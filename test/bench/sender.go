package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"castpoint/internal/lab"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/sender"
	"castpoint/multicast/wire"
)

// caseSender measures what a session costs its sender: it sends, encrypted, to a
// device that throws all away, and one member claims to receive everything. The
// device cuts large sends into datagrams, as the drivers of many server network cards
// do, or leaves that to the system.
func caseSender(ctx context.Context, s setup) error {
	fmt.Println()
	for _, cuts := range []string{"off", "on"} {
		if err := s.alone(ctx, cuts); err != nil {
			return err
		}
	}
	return nil
}

// alone measures once; cuts is on or off.
func (s setup) alone(ctx context.Context, cuts string) error {
	n, err := lab.New(ctx, lab.Config{})
	if err != nil {
		return err
	}
	defer n.Close()
	const device = "sink"
	for _, args := range [][]string{
		{"ip", "link", "add", device, "type", "ifb"}, // without a filter it discards
		{"ip", "addr", "add", "10.78.0.1/24", "dev", device},
		{"ip", "link", "set", device, "up"},
		{"ethtool", "-K", device, "tx-udp-segmentation", cuts},
	} {
		if out, code, err := n.Server.Run(ctx, args...); err != nil || code != 0 {
			return errors.Join(fmt.Errorf("%v: code %d: %s", args, code, out), err)
		}
	}
	group := netip.MustParseAddrPort("239.192.67.1:7800")
	c := &claiming{closed: make(chan struct{})}
	err = n.Server.Do(func() (err error) {
		c.GroupSender, err = netio.OpenGroupSender(netio.GroupSenderConfig{Interface: device, Group: group})
		return err
	})
	if err != nil {
		return err
	}
	file, err := os.Open(s.source)
	if err != nil {
		return err
	}
	defer file.Close()
	blocks := int((s.size-1)/blockSize + 1)
	session, err := sender.New(sender.Config{
		ID: 1, Objects: []block.Object{{Size: s.size, BlockSize: blockSize}},
		Sources: []io.ReaderAt{file}, Conn: c, Group: group, Feedback: c.Local(), LinkSpeed: 10e9,
	})
	if err != nil {
		return err
	}
	params, member, _, err := session.Admit(sender.Candidate{Name: "sink", AES: true})
	if err != nil {
		return err
	}
	if err := c.claim(params.ID, member, uint32(blocks)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	time.Sleep(2 * time.Second) // until the rate is found
	cpu, sent, start := ownCPU(), c.bytes.Load(), time.Now()
	time.Sleep(5 * time.Second)
	used, bytes, took := ownCPU()-cpu, c.bytes.Load()-sent, time.Since(start)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	by := map[string]string{"off": "the system", "on": "the device"}[cuts]
	fmt.Printf("sender alone, AES-256-GCM, %s cuts into datagrams: %.1f Gbit/s of datagrams with %.2f cores: %.1f Gbit/s per core; sealing alone makes %.1f\n",
		by, float64(bytes)*8/took.Seconds()/1e9, used.Seconds()/took.Seconds(), float64(bytes)*8/used.Seconds()/1e9, c.sealing())
	return nil
}

// sealing is what one core of this machine seals at this moment, in Gbit/s: by it
// figures of different machines and hours can be compared.
func (c *claiming) sealing() float64 {
	const size, rounds = block.DefaultSymbolSize, 200_000
	nonce, in, out := make([]byte, wire.NonceSize), make([]byte, size), make([]byte, 0, size+wire.TagSize)
	before := ownCPU()
	for range rounds {
		c.aead.Seal(out, nonce, in, nil)
	}
	return size * rounds * 8 / (ownCPU() - before).Seconds() / 1e9
}

const blockSize = 180224

// claiming is a sender's edge whose one member reports that it has received every
// datagram and lacks the whole object, so that the session sends it over and over.
type claiming struct {
	*netio.GroupSender
	packets, bytes atomic.Int64

	session uint32
	member  multicast.Member
	aead    cipher.AEAD
	blocks  uint32
	number  uint64
	closed  chan struct{}
}

func (c *claiming) claim(session uint32, m multicast.Member, blocks uint32) error {
	block, err := aes.NewCipher(m.Key)
	if err != nil {
		return err
	}
	c.session, c.member, c.blocks = session, m, blocks
	c.aead, err = cipher.NewGCM(block)
	return err
}

func (c *claiming) WriteGroup(b []byte, size int) error {
	c.packets.Add(int64((len(b) + size - 1) / size))
	c.bytes.Add(int64(len(b)))
	return c.GroupSender.WriteGroup(b, size)
}

func (c *claiming) ReadReport(buf []byte) (int, netip.AddrPort, error) {
	select {
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case <-time.After(5 * time.Millisecond):
	}
	c.number++
	at := c.packets.Load()
	r := wire.Report{Highest: wire.PacketNumber(at), Received: uint64(at), To: c.blocks}
	r.Runs, _ = wire.AppendRun(nil, wire.Run{Count: c.blocks - 1, Deficit: 128})
	h := wire.ReportHeader{Session: c.session, Number: c.number, Member: c.member.ID}
	header := h.Append(buf[:0])
	var nonce [wire.NonceSize]byte
	wire.Nonce(&nonce, [wire.SaltSize]byte{}, c.number)
	return len(c.aead.Seal(header, nonce[:], r.Append(nil), header)), netip.AddrPort{}, nil
}

func (c *claiming) Close() error {
	close(c.closed)
	return c.GroupSender.Close()
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
