package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
)

// casePolite puts one TCP stream beside a session on the server's link, and says
// what it keeps. At 200 Mbit/s the processors are no part of the question. The queue is
// one line for everything (fifo), or the kernel's own with its bands (pfifo_fast).
func casePolite(ctx context.Context, s setup) error {
	for _, at := range []struct{ rate, queue string }{{"1gbit", ""}, {"200mbit", ""}, {"200mbit", "pfifo_fast"}} {
		for _, control := range []string{"cubic", "bbr"} {
			for _, manner := range []string{"polite", "greedy"} {
				if err := os.RemoveAll(s.out); err != nil {
					return err
				}
				if err := s.beside(ctx, at.rate, at.queue, control, manner); err != nil {
					return fmt.Errorf("%s beside %s at %s: %w", manner, control, at.rate, err)
				}
			}
		}
	}
	return nil
}

func (s setup) beside(ctx context.Context, rate, queue, control, manner string) error {
	s.cell = cell{receivers: 4, rate: rate}
	n, dirs, err := s.network(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	dirs = dirs[:3] // the fourth has the stream
	if queue != "" {
		if out, code, err := n.Server.Run(ctx, "tc", "qdisc", "add", "dev", "eth0", "parent", "1:1", queue); err != nil || code != 0 {
			return fmt.Errorf("queue %s: code %d, %w: %s", queue, code, err, out)
		}
	} else {
		queue = "fifo"
	}
	d, err := serve(ctx, s, n, len(dirs), append(append([]string{}, never...), "--sharing", manner)...)
	if err != nil {
		return err
	}
	stream, err := startStream(ctx, n.Server, n.Clients[3], control)
	if err != nil {
		return err
	}
	defer stream.close()
	receivers, err := d.ready(ctx, dirs)
	if err != nil {
		return err
	}
	alone := stream.over(2 * time.Second)
	begun, before := time.Now(), stream.bytes.Load()
	if _, err := d.begin(); err != nil {
		return err
	}
	if _, err := s.wait(ctx, begun, dirs); err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	beside := float64(stream.bytes.Load()-before) * 8 / took
	for _, r := range receivers {
		if err := ended(ctx, r); err != nil {
			return err
		}
	}
	fmt.Printf("a TCP stream (%s) beside a session of 3, %s, %s, %s: %.0f Mbit/s alone, %.0f beside it (%.0f %%); the session made %.0f Mbit/s\n",
		control, rate, queue, manner, alone/1e6, beside/1e6, 100*beside/alone, float64(s.size)*8/took/1e6)
	return s.same(dirs)
}

// stream is a TCP connection that carries as much as it can.
type stream struct {
	bytes    atomic.Int64 // that have arrived
	from, to net.Conn
}

// startStream connects two hosts with a TCP that has the given congestion control.
func startStream(ctx context.Context, from, to *lab.Host, control string) (*stream, error) {
	s := &stream{}
	var l net.Listener
	err := to.Do(func() (err error) { l, err = net.Listen("tcp4", to.Addr.String()+":5001"); return err })
	if err != nil {
		return nil, err
	}
	defer l.Close()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
		})
		return errors.Join(err, failed)
	}}
	if err := from.Do(func() (err error) { s.from, err = d.DialContext(ctx, "tcp4", to.Addr.String()+":5001"); return err }); err != nil {
		return nil, err
	}
	if s.to, err = l.Accept(); err != nil {
		return nil, errors.Join(err, s.from.Close())
	}
	go func() {
		zero := make([]byte, 256<<10)
		for {
			if _, err := s.from.Write(zero); err != nil {
				return
			}
		}
	}()
	go func() {
		_, _ = io.CopyBuffer(counter{&s.bytes}, struct{ io.Reader }{s.to}, make([]byte, 256<<10))
	}()
	return s, nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// over measures the stream for a while, in bits per second.
func (s *stream) over(d time.Duration) float64 {
	start, before := time.Now(), s.bytes.Load()
	time.Sleep(d)
	return float64(s.bytes.Load()-before) * 8 / time.Since(start).Seconds()
}

func (s *stream) close() { _, _ = s.from.Close(), s.to.Close() }
