// Package tftpclient is a client of TFTP for tests: exact where the protocol is exact,
// misbehaving where it is told to, over a real socket or a simulated network.
package tftpclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"castpoint/tftp/wire"
)

// PatternFile is a File of any size that holds no memory: byte i is a function of
// i that no shift by a block maps onto itself.
type PatternFile int64

// Size is the number of bytes.
func (f PatternFile) Size() int64 { return int64(f) }

// Close does nothing.
func (f PatternFile) Close() error { return nil }

// ReadAt fills p.
func (f PatternFile) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = PatternByte(off + int64(i))
	}
	return len(p), nil
}

// PatternByte is byte i of a PatternFile.
func PatternByte(i int64) byte {
	x := uint64(i) * 0x9e3779b97f4a7c15
	return byte(x >> 56)
}

// RandomBytes are n bytes that are the same in every run.
func RandomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// Wire is what a Client talks through.
type Wire interface {
	Send(b []byte)
	Receive(buf []byte, deadline time.Time) (int, error)
}

// Habit is how a client acknowledges what is out of order.
type Habit uint8

// The habits.
const (
	AckGapOnce  Habit = iota // RFC 7440: one ACK for a gap
	AckEveryGap              // EDK2: one for each block that is not the expected one
	AckNothing               // only after its timeout
	AckEach                  // acknowledges every block, whatever window it asked for
)

// Client is a client as a test wants it: exact where the protocol is exact,
// and misbehaving where it is told to.
type Client struct {
	Wire    Wire
	Options []wire.Option
	Mode    string
	Habit   Habit
	Timeout time.Duration // before it repeats itself
	// NextWindow, when set, is the byte behind each ACK (msftwindow); it is given
	// the block that is acknowledged.
	NextWindow func(block int64) byte
	// Vanish ends the client without its last ACK.
	Vanish bool
	Sink   func(p []byte) // takes the file; nil keeps it

	// Results.
	Agreed   []wire.Option
	File     []byte
	Size     int64
	Blocks   int64 // received in order
	Received int64 // DATA datagrams received in all
	Acks     int64 // sent
}

// Get fetches a file. The error is *wire.PeerError when the server sent an ERROR.
func (c *Client) Get(name string) error {
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Mode == "" {
		c.Mode = "octet"
	}
	rrq := ReadRequest(name, c.Mode, c.Options...)
	buf := make([]byte, 70000)
	last := rrq
	c.Wire.Send(rrq)

	blksize, window, varWindow := 512, 1, false
	var expect int64 = 1
	count, gap, tries := 0, false, 0
	ackBuf := make([]byte, 0, 8)
	ackTo := func(block int64) {
		b := wire.AppendAck(ackBuf[:0], uint16(block))
		if varWindow {
			w := c.NextWindow(block)
			b = append(b, w)
			window = max(1, int(w))
		}
		last = b
		count = 0
		c.Acks++
		c.Wire.Send(b)
	}
	deadline := time.Now().Add(c.Timeout)
	for {
		n, err := c.Wire.Receive(buf, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if tries++; tries > 60 {
				return errors.New("the server is silent")
			}
			if expect > 1 && last[1] != wire.OpACK {
				last = wire.AppendAck(nil, uint16(expect-1))
			}
			if expect > 1 {
				ackTo(expect - 1)
			} else {
				c.Wire.Send(last)
			}
			deadline = time.Now().Add(c.Timeout)
			continue
		}
		if err != nil {
			return err
		}
		b := buf[:n]
		switch wire.Opcode(b) {
		case wire.OpERROR:
			e, _ := wire.ParseError(b)
			return &e
		case wire.OpOACK:
			if expect > 1 {
				continue
			}
			options, ok := wire.ParseOACK(b)
			if !ok {
				return fmt.Errorf("bad OACK %x", b)
			}
			first := c.Agreed == nil
			c.Agreed = options
			for _, o := range options {
				n, _ := strconv.Atoi(o.Value)
				switch strings.ToLower(o.Name) {
				case "blksize":
					blksize = n
				case "windowsize":
					if first {
						window = n
					}
				case "tsize":
					c.Size = int64(n)
				case "msftwindow":
					varWindow = c.NextWindow != nil
				}
			}
			ackTo(0)
			deadline = time.Now().Add(c.Timeout)
		case wire.OpDATA:
			c.Received++
			block := binary.BigEndian.Uint16(b[2:])
			distance := int16(block - uint16(expect))
			if distance != 0 {
				switch c.Habit {
				case AckGapOnce:
					if !gap || distance < 0 && window == 1 {
						gap = true
						ackTo(expect - 1)
					}
				case AckEveryGap, AckEach:
					ackTo(expect - 1)
				}
				continue
			}
			gap, tries = false, 0
			payload := b[wire.HeaderSize:]
			if c.Sink != nil {
				c.Sink(payload)
			} else {
				c.File = append(c.File, payload...)
			}
			expect++
			c.Blocks++
			count++
			deadline = time.Now().Add(c.Timeout)
			if len(payload) < blksize {
				if !c.Vanish {
					ackTo(expect - 1)
				}
				return nil
			}
			if count >= window || c.Habit == AckEach {
				ackTo(expect - 1)
			}
		}
	}
}

// AgreedTo is the value of an option of the OACK.
func (c *Client) AgreedTo(name string) string {
	v, _ := wire.FindOption(c.Agreed, name)
	return v
}

// ReadRequest is a read request.
func ReadRequest(name, mode string, options ...wire.Option) []byte {
	return Request(wire.OpRRQ, name, mode, options...)
}

// Request is a request with an opcode.
func Request(op byte, name, mode string, options ...wire.Option) []byte {
	b := append([]byte{0, op}, name...)
	b = append(b, 0)
	b = append(append(b, mode...), 0)
	for _, o := range options {
		b = append(append(b, o.Name...), 0)
		b = append(append(b, o.Value...), 0)
	}
	return b
}

// BootManager is what the Windows boot manager asks for, in its order.
func BootManager(blksize, window int) []wire.Option {
	return []wire.Option{
		{Name: "tsize", Value: "0"}, {Name: "blksize", Value: strconv.Itoa(blksize)},
		{Name: "windowsize", Value: strconv.Itoa(window)}, {Name: "msftwindow", Value: "31416"},
	}
}

// ZeroFile is a File of zeros.
type ZeroFile int64

// Size is the number of bytes.
func (f ZeroFile) Size() int64 { return int64(f) }

// Close does nothing.
func (f ZeroFile) Close() error { return nil }

// ReadAt fills p.
func (f ZeroFile) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// ASCIIBytes are n bytes with many line ends.
func ASCIIBytes(n int) []byte {
	b := RandomBytes(n)
	for i := range b {
		switch {
		case b[i] < 40:
			b[i] = '\n'
		case b[i] < 60:
			b[i] = '\r'
		}
	}
	return b
}

// ToNetascii is the conversion written plainly.
func ToNetascii(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\r\x00"))
	// The CRs made here are those of line ends, the others are followed by NUL.
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// Put sends a file as a client does: windows of blocks, going back to what the
// server acknowledged.
func Put(w Wire, data []byte, options []wire.Option, answered func([]wire.Option)) error {
	w.Send(Request(wire.OpWRQ, "logs/file", "octet", options...))
	blksize, window := 512, 1
	last := int64(-1)
	acked := int64(-1) // nothing, not even the request
	buf := make([]byte, 2000)
	block := func(n int64) []byte {
		start := min((n-1)*int64(blksize), int64(len(data)))
		return wire.AppendData(nil, n, data[start:min(start+int64(blksize), int64(len(data)))])
	}
	for tries := 0; tries < 100; {
		n, err := w.Receive(buf, time.Now().Add(200*time.Millisecond))
		var next int64
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			tries++
			if acked < 0 {
				w.Send(Request(wire.OpWRQ, "logs/file", "octet", options...))
				continue
			}
		case err != nil:
			return err
		default:
			if e, ok := wire.ParseError(buf[:n]); ok {
				return &e
			}
			if opts, ok := wire.ParseOACK(buf[:n]); ok && acked < 0 {
				next = 0
				for _, o := range opts {
					v, _ := strconv.Atoi(o.Value)
					switch o.Name {
					case "blksize":
						blksize = v
					case "windowsize":
						window = v
					}
				}
				if answered != nil {
					answered(opts)
				}
			} else if a, ok := wire.ParseAck(buf[:n]); ok {
				next = max(acked, 0) + int64(int16(a.Block-uint16(max(acked, 0))))
				if next <= acked {
					continue // told before
				}
			} else {
				continue
			}
			tries = 0
			acked = next
			last = int64(len(data)/blksize) + 1
			if acked == last {
				return nil
			}
		}
		for i := acked + 1; i <= min(acked+int64(window), last); i++ {
			w.Send(block(i))
		}
	}
	return errors.New("the server is silent")
}
