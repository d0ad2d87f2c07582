package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// result is what the clients of one run saw together.
type result struct {
	Bytes    int64         // payload of all clients
	Took     time.Duration // from the first request to the last byte
	Complete int           // clients that have the whole file
	CRC      uint32        // of it
	Lost     int64         // windows with a gap, and waits in vain
	CPU      time.Duration `json:"-"` // of the server
}

func parseResult(text string) (result, error) {
	var r result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("read what the client says: %w: %s", err, text)
	}
	return r, nil
}

// client is the client side, a process of its own in the client's namespace:
// KIND SERVER FILE SECONDS CLIENTS (WINDOW|PORT) DELAY.
func client(args []string) error {
	if len(args) != 7 {
		return errors.New("want 7 arguments")
	}
	server, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	clients, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(args[5])
	if err != nil {
		return err
	}
	delay, err := time.ParseDuration(args[6])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all result
	var errs []error
	var ends []func() // tell the server that a transfer is over
	var wg sync.WaitGroup
	start := time.Now()
	for range clients {
		wg.Go(func() {
			// A thread of its own: the system calls block, and its sleep is exact.
			runtime.LockOSThread()
			var r result
			var err error
			if args[0] == "tftp" {
				c := tftpClient{window: number, delay: delay, end: start.Add(limit)}
				r, err = c.fetch(server, args[2])
				mu.Lock()
				ends = append(ends, c.close)
				mu.Unlock()
			} else {
				r, err = fetchHTTP(netip.AddrPortFrom(server, uint16(number)), args[2], start.Add(limit))
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			all.Bytes += r.Bytes
			all.Lost += r.Lost
			all.Complete += r.Complete
			if r.Complete > 0 {
				if all.CRC != 0 && all.CRC != r.CRC {
					errs = append(errs, errors.New("two clients got different files"))
				}
				all.CRC = r.CRC
			}
		})
	}
	wg.Wait()
	all.Took = time.Since(start)
	if len(errs) > 0 {
		return errs[0]
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		return err
	}
	time.Sleep(lastLook)
	for _, end := range ends {
		end()
	}
	return nil
}

// lastLook is how long transfers stay after the result, for the server's
// processor time to be read.
const lastLook = 300 * time.Millisecond

const (
	benchBlock = 1468
	batch      = 64
)

// tftpClient reads one file with as little work as possible: what is measured is
// the server.
type tftpClient struct {
	window int
	delay  time.Duration // by which each ACK is held back
	end    time.Time

	fd   int
	cut  bool // ended before the file did
	bufs [batch][benchBlock + 4]byte
	iovs [batch]unix.Iovec
	msgs [batch]mmsghdr
	ack  [4]byte
}

// mmsghdr is that of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func (c *tftpClient) fetch(server netip.Addr, name string) (r result, err error) {
	if c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return r, err
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20); err != nil {
		return r, err
	}
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return r, err
	}
	// Sleeps are exact to the nanosecond instead of 50 µs.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return r, err
	}
	for i := range c.msgs {
		c.iovs[i].Base = &c.bufs[i][0]
		c.iovs[i].SetLen(len(c.bufs[i]))
		c.msgs[i].hdr.Iov = &c.iovs[i]
		c.msgs[i].hdr.SetIovlen(1)
	}
	if err := c.ask(server, name); err != nil {
		return r, err
	}
	return c.receive()
}

// close ends the transfer.
func (c *tftpClient) close() {
	if c.cut {
		_, _ = unix.Write(c.fd, []byte("\x00\x05\x00\x00enough\x00"))
	}
	_ = unix.Close(c.fd)
}

// ask sends the request and takes the OACK.
func (c *tftpClient) ask(server netip.Addr, name string) error {
	request := "\x00\x01" + name + "\x00octet\x00blksize\x001468\x00"
	if c.window > 1 {
		request += "windowsize\x00" + strconv.Itoa(c.window) + "\x00"
	}
	var buf [512]byte
	for try := 0; ; try++ {
		if err := unix.Sendto(c.fd, []byte(request), 0, &unix.SockaddrInet4{Port: 69, Addr: server.As4()}); err != nil {
			return err
		}
		n, from, err := unix.Recvfrom(c.fd, buf[:], 0)
		if errors.Is(err, unix.EAGAIN) && try < 5 {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the answer: %w", err)
		}
		if n < 2 || binary.BigEndian.Uint16(buf[:]) != 6 {
			return fmt.Errorf("instead of an OACK came %q", buf[:n])
		}
		want := "blksize\x001468\x00"
		if c.window > 1 {
			want += "windowsize\x00" + strconv.Itoa(c.window) + "\x00"
		}
		if string(buf[2:n]) != want {
			return fmt.Errorf("agreed on %q, want %q", buf[2:n], want)
		}
		return unix.Connect(c.fd, from)
	}
}

// receive takes the file block by block.
func (c *tftpClient) receive() (r result, err error) {
	table := crc32.MakeTable(crc32.Castagnoli)
	var block int64 // the last that came in order
	var told int64  // the last that was acknowledged
	complained := false
	if err := c.acknowledge(0); err != nil {
		return r, err
	}
	for silent := 0; ; {
		n, err := c.read()
		switch {
		case errors.Is(err, unix.EAGAIN):
			if silent++; silent > 5 {
				return r, errors.New("the server is silent")
			}
			r.Lost++
			told, complained = block, false
			if err := c.acknowledge(block); err != nil {
				return r, err
			}
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return r, fmt.Errorf("receive: %w", err)
		}
		silent = 0
		for i := range n {
			p := c.bufs[i][:c.msgs[i].n]
			if len(p) < 4 || binary.BigEndian.Uint16(p) != 3 {
				return r, fmt.Errorf("instead of data came %q", p)
			}
			got := binary.BigEndian.Uint16(p[2:])
			if got != uint16(block+1) {
				// The first block out of order is complained of, once for each gap.
				if int16(got-uint16(block)) > 0 && !complained {
					complained = true
					r.Lost++
					told = block
					if err := c.acknowledge(block); err != nil {
						return r, err
					}
				}
				continue
			}
			complained = false
			block++
			r.Bytes += int64(len(p) - 4)
			r.CRC = crc32.Update(r.CRC, table, p[4:])
			last := len(p) < benchBlock+4
			if !last && block < told+int64(c.window) {
				continue
			}
			if !last && time.Now().After(c.end) {
				c.cut = true
				return r, nil
			}
			told = block
			if err := c.acknowledge(block); err != nil {
				return r, err
			}
			if last {
				r.Complete = 1
				return r, nil
			}
		}
	}
}

// read takes what has arrived, one datagram at least.
func (c *tftpClient) read() (int, error) {
	if c.window == 1 {
		n, err := unix.Read(c.fd, c.bufs[0][:])
		c.msgs[0].n = uint32(max(n, 0))
		return 1, err
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&c.msgs[0])), batch, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (c *tftpClient) acknowledge(block int64) error {
	if c.delay > 0 {
		t := unix.NsecToTimespec(int64(c.delay))
		for unix.Nanosleep(&t, &t) != nil {
		}
	}
	binary.BigEndian.PutUint16(c.ack[:], 4)
	binary.BigEndian.PutUint16(c.ack[2:], uint16(block))
	if _, err := unix.Write(c.fd, c.ack[:]); err != nil {
		return fmt.Errorf("acknowledge block %d: %w", block, err)
	}
	return nil
}

// fetchHTTP fetches the file on one connection until the time is over, and drops
// it in the kernel.
func fetchHTTP(server netip.AddrPort, name string, end time.Time) (r result, err error) {
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(server))
	if err != nil {
		return r, err
	}
	f, err := conn.File() // blocking, away from the poller
	_ = conn.Close()
	if err != nil {
		return r, err
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		return r, err
	}
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Write(fd, fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", name, server)); err != nil {
			return r, err
		}
		left, err := readHeader(fd, buf)
		if err != nil {
			return r, err
		}
		for left > 0 {
			// With MSG_TRUNC TCP drops the bytes instead of copying them (tcp(7)).
			n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(min(left, 4<<20)), unix.MSG_TRUNC, 0, 0)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 || n == 0 {
				return r, fmt.Errorf("receive: %w, %d bytes are missing", errno, left)
			}
			left -= int64(n)
			r.Bytes += int64(n)
			if time.Now().After(end) {
				return r, nil
			}
		}
	}
}

// readHeader reads an answer's header, byte by byte so that nothing of the body
// is taken, and returns Content-Length.
func readHeader(fd int, buf []byte) (int64, error) {
	n := 0
	for n < 4 || string(buf[n-4:n]) != "\r\n\r\n" {
		if n == len(buf) {
			return 0, errors.New("a long header")
		}
		got, err := unix.Read(fd, buf[n:n+1])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got == 0 {
			return 0, fmt.Errorf("read the header: %w", err)
		}
		n++
	}
	m := contentLength.FindSubmatch(buf[:n])
	if m == nil || string(buf[9:12]) != "200" {
		return 0, fmt.Errorf("answer %q", buf[:n])
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}
