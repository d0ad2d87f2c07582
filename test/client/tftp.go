package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"castpoint/internal/lab"
)

// TFTPPort is where requests go.
const TFTPPort = 69

// TFTP is a read request and how it is carried out.
type TFTP struct {
	BlockSize int // 0 asks for none: 512 bytes
	Window    int // blocks; 0 asks for none: 1
	Size      bool
	// Abandon is how many bytes are taken before the client is gone; 0 takes all.
	Abandon int64
	// Polite says so before it goes, by an error packet.
	Polite bool
	// Delay holds each ACK back.
	Delay time.Duration
	// Wait is how long the client waits before it repeats itself; 0 is a second.
	Wait time.Duration
	// Tries is how often in a row it does; 0 is ten.
	Tries int
	// Conn is the socket to use, which is closed then; nil opens one.
	Conn *net.UDPConn
}

// A Fetched is what a transfer has brought.
type Fetched struct {
	Bytes     int64
	SHA256    string
	Abandoned bool
	// Longest is the longest time in which nothing new came.
	Longest time.Duration
	Took    time.Duration
	Waits   int // in vain
}

// Fetch reads a file.
func (o TFTP) Fetch(ctx context.Context, h *lab.Host, server netip.Addr, name string) (f Fetched, err error) {
	conn := o.Conn
	if conn == nil {
		if conn, err = ListenUDP(h, 0, false); err != nil {
			return f, err
		}
	}
	defer conn.Close()
	block, window := 512, 1
	request := "\x00\x01" + name + "\x00octet\x00"
	option := func(name string, value int) { request += name + "\x00" + strconv.Itoa(value) + "\x00" }
	if o.Size {
		option("tsize", 0)
	}
	if o.BlockSize > 0 {
		option("blksize", o.BlockSize)
	}
	if o.Window > 0 {
		option("windowsize", o.Window)
	}
	wait, tries := o.Wait, o.Tries
	if wait == 0 {
		wait = time.Second
	}
	if tries == 0 {
		tries = 10
	}
	start := time.Now()
	last := start // when something new came
	defer func() {
		f.Took = time.Since(start)
		if err != nil { // the silence before it as well
			f.Longest = max(f.Longest, time.Since(last))
		}
	}()
	size := int64(-1)
	hash := sha256.New()
	peer := netip.AddrPortFrom(server, TFTPPort)
	packet := []byte(request)
	answered := false // the server has answered from a port of its own
	var told, have int64
	buf := make([]byte, 65536)
	news := func() {
		now := time.Now()
		f.Longest = max(f.Longest, now.Sub(last))
		last = now
	}
	send := func() error {
		if o.Delay > 0 && answered {
			time.Sleep(o.Delay)
		}
		_, err := conn.WriteToUDPAddrPort(packet, peer)
		return err
	}
	acknowledge := func() error {
		told = have
		packet = binary.BigEndian.AppendUint16([]byte{0, 4}, uint16(have))
		return send()
	}
	if err := send(); err != nil {
		return f, err
	}
	for silent := 0; ; {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return f, err
		}
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if silent++; silent >= tries {
				return f, fmt.Errorf("TFTP %s: silence after %d bytes", name, f.Bytes)
			}
			f.Waits++
			if answered && have > told {
				err = acknowledge()
			} else {
				err = send()
			}
			if err != nil {
				return f, err
			}
			continue
		}
		if err != nil {
			return f, fmt.Errorf("TFTP %s after %d bytes: %w", name, f.Bytes, err)
		}
		p := buf[:n]
		if from.Addr().Unmap() != server || answered && from.Port() != peer.Port() || len(p) < 4 {
			continue
		}
		switch op := binary.BigEndian.Uint16(p); {
		case op == 5:
			text, _, _ := bytes.Cut(p[4:], []byte{0})
			return f, &Stated{By: fmt.Sprintf("TFTP error %d", binary.BigEndian.Uint16(p[2:])), Text: string(text)}
		case op == 6 && have == 0:
			if answered {
				if err := send(); err != nil { // our ACK was lost
					return f, err
				}
				continue
			}
			peer, answered = netip.AddrPortFrom(server, from.Port()), true
			if block, window, size, err = o.agreed(p[2:]); err != nil {
				return f, err
			}
			news()
			silent = 0
			if err := acknowledge(); err != nil {
				return f, err
			}
		case op == 3:
			if !answered {
				peer, answered = netip.AddrPortFrom(server, from.Port()), true
			}
			number := binary.BigEndian.Uint16(p[2:])
			if number != uint16(have+1) {
				if int16(number-uint16(have)) > 0 && have > told {
					if err := acknowledge(); err != nil { // a gap: the rest once more
						return f, err
					}
				}
				continue
			}
			silent = 0
			have++
			f.Bytes += int64(len(p) - 4)
			hash.Write(p[4:])
			final := len(p)-4 < block
			if !final && o.Abandon > 0 && f.Bytes >= o.Abandon {
				f.Abandoned = true
				if o.Polite {
					_, _ = conn.WriteToUDPAddrPort([]byte("\x00\x05\x00\x00enough\x00"), peer)
				}
				return f, nil
			}
			if final || have-told >= int64(window) {
				news()
				if err := acknowledge(); err != nil {
					return f, err
				}
			}
			if !final {
				continue
			}
			if size >= 0 && size != f.Bytes {
				return f, fmt.Errorf("TFTP %s: %d bytes came, %d were announced", name, f.Bytes, size)
			}
			f.SHA256 = hex.EncodeToString(hash.Sum(nil))
			return f, nil
		}
	}
}

// agreed reads an OACK: it may grant what was asked for, or less.
func (o TFTP) agreed(p []byte) (block, window int, size int64, err error) {
	block, window, size = 512, 1, -1
	words := bytes.Split(bytes.TrimSuffix(p, []byte{0}), []byte{0})
	for i := 0; i+1 < len(words); i += 2 {
		v, err := strconv.ParseInt(string(words[i+1]), 10, 64)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("option %q of the OACK: %w", words[i], err)
		}
		switch name := string(words[i]); {
		case name == "tsize" && o.Size:
			size = v
		case name == "blksize" && v >= 8 && v <= int64(o.BlockSize):
			block = int(v)
		case name == "windowsize" && v >= 1 && v <= int64(o.Window):
			window = int(v)
		default:
			return 0, 0, 0, fmt.Errorf("the OACK has %s %d, which was not asked for", name, v)
		}
	}
	return block, window, size, nil
}
