package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A cable with a rate, loss or delay is carried by this process, for kernels without
// netem: QEMU sends each of a machine's frames as a datagram to a port of the switch's
// loopback, and the cable writes it into the tap device at the switch, and the other
// way. Each direction has a reader, which decides what becomes of a frame, and a
// writer, which waits until it is due.

// wireQueue is what a direction holds back before frames are lost, in bytes beyond
// those that are only delayed: as much as a plain gigabit switch has for a port.
const wireQueue = 512_000

// wireFrames bounds the frames on their way in one direction.
const wireFrames = 16384

// frameMost is larger than any frame: jumbo frames have 9000 bytes and headers.
const frameMost = 65536

// etherTypeARP is at the end of a frame's header of 14 bytes.
const (
	etherHeader  = 14
	etherTypeARP = 0x0806
)

// wirePorts are the UDP ports of QEMU's end and of the cable's for a card of a machine.
func wirePorts(number, card int) (near, far int) {
	return 20000 + 32*number + 2*card, 20000 + 32*number + 2*card + 1
}

// wire makes a cable between QEMU's socket and a tap device.
func (n *Network) wire(ctx context.Context, tap string, near, far int, l Link) error {
	var at *os.File
	var conn *net.UDPConn
	err := n.Switch.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(tap)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		// Only now: what is not attached yet cannot be waited for.
		at = os.NewFile(uintptr(fd), tap)
		if err != nil {
			return fmt.Errorf("attach to %s: %w", tap, err)
		}
		loopback := net.IPv4(127, 0, 0, 1)
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: loopback, Port: far})
		return err
	})
	if err != nil {
		if at != nil {
			_ = at.Close()
		}
		return fmt.Errorf("cable of %s: %w", tap, err)
	}
	_ = conn.SetReadBuffer(4 << 20) // as much as the kernel allows
	n.mu.Lock()
	n.ends = append(n.ends, at, conn)
	n.mu.Unlock()
	machine := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: near}
	n.carry(ctx, l, at.Read, func(p []byte) error {
		_, err := conn.WriteToUDP(p, machine)
		return err
	})
	n.carry(ctx, l, func(p []byte) (int, error) {
		size, _, err := conn.ReadFromUDP(p)
		return size, err
	}, func(p []byte) error {
		_, err := at.Write(p)
		return err
	})
	return nil
}

// due is a frame and when it leaves the cable.
type due struct {
	at    time.Time
	frame []byte
}

// carry starts one direction. It ends when read fails, which it does when the network
// is closed.
func (n *Network) carry(ctx context.Context, l Link, read func([]byte) (int, error), write func([]byte) error) {
	frames := make(chan due, wireFrames)
	n.wires.Add(2)
	go func() {
		defer n.wires.Done()
		defer close(frames)
		readFrames(&shaper{link: l, random: rand.Float64}, read, frames)
	}()
	go func() {
		defer n.wires.Done()
		for f := range frames {
			if wait := time.Until(f.at); wait > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(wait):
				}
			}
			// A machine that is off, or a port that is down, takes nothing.
			_ = write(f.frame)
		}
	}()
}

func readFrames(s *shaper, read func([]byte) (int, error), frames chan<- due) {
	buf := make([]byte, frameMost)
	for {
		size, err := read(buf)
		if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			// Of the frame sent before, as "connection refused" by a machine that is
			// off, or of a device that is down for now.
			time.Sleep(time.Millisecond)
			continue
		}
		if size < etherHeader {
			continue
		}
		at, ok := s.pass(time.Now(), buf[:size])
		if !ok {
			continue
		}
		select {
		case frames <- due{at, append([]byte(nil), buf[:size]...)}:
		default: // more on the way than a cable holds
		}
	}
}

// shaper decides what a direction of a cable does with its frames.
type shaper struct {
	link   Link
	random func() float64

	free time.Time // when the cable has sent what it took
	last time.Time // when the last frame leaves
}

// pass says when a frame leaves the cable; ok is false for one that is lost.
func (s *shaper) pass(now time.Time, frame []byte) (at time.Time, ok bool) {
	arp := int(frame[etherHeader-2])<<8|int(frame[etherHeader-1]) == etherTypeARP
	if !arp && s.random() < s.link.Loss {
		return at, false
	}
	at = now
	if s.link.Rate > 0 {
		if s.free.Before(now) {
			s.free = now
		}
		waiting := s.free.Sub(now).Seconds() * float64(s.link.Rate) / 8
		if waiting > wireQueue {
			return at, false
		}
		// Preamble, check sum and gap are 24 bytes.
		s.free = s.free.Add(time.Duration(float64(len(frame)+24) * 8 / float64(s.link.Rate) * float64(time.Second)))
		at = s.free
	}
	at = at.Add(s.link.Delay + time.Duration(s.random()*float64(s.link.Jitter)))
	if at.Before(s.last) {
		at = s.last
	}
	s.last = at
	return at, true
}
