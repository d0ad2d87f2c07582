package tftp

import (
	"encoding/binary"
	"errors"
	"net"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// batchConn is what ipv4.PacketConn and ipv6.PacketConn have in common:
// sendmmsg. ipv4.Message and ipv6.Message are the same type.
type batchConn interface {
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

func newBatchConn(c *net.UDPConn, v6 bool) batchConn {
	if v6 {
		return ipv6.NewPacketConn(c)
	}
	return ipv4.NewPacketConn(c)
}

// Limits of one segmented message: UDP_MAX_SEGMENTS of Linux before 6.9, and the
// 16-bit length of an IP packet.
const (
	gsoSegments = 64
	gsoBytes    = 65535 - 48
)

// batcher sends DATA datagrams, several by one system call, without copying
// payloads: each datagram is gathered from its header and its part of the file
// buffer. It belongs to one transfer.
type batcher struct {
	conn batchConn
	gso  bool // UDP_SEGMENT (Linux 4.18) may be used; ends with the first failure
	room int  // UDP payload bytes of one IP packet of the path

	addr net.Addr // where to; nil when the socket is connected
	oob  []byte   // control messages of every datagram; may be empty

	headers []byte
	parts   [][]byte
	msgs    []ipv4.Message
	gsoOOB  []byte
	gsoSize int // blockSize that gsoOOB is made for
}

// sendBlocks is link.sendBlocks. count is at most maxBatch.
func (b *batcher) sendBlocks(first int64, count, blockSize int, data []byte) error {
	if len(b.headers) < count*headerSize {
		b.headers = make([]byte, count*headerSize)
		b.parts = make([][]byte, 2*count)
		b.msgs = make([]ipv4.Message, count)
	}
	parts := b.parts[:2*count]
	for i := range count {
		h := b.headers[i*headerSize : (i+1)*headerSize]
		putDataHeader(h, first+int64(i))
		parts[2*i] = h
		parts[2*i+1] = data[i*blockSize : min((i+1)*blockSize, len(data))]
	}
	sent := 0
	if count > 1 && b.gso && blockSize+headerSize <= b.room {
		n, err := b.write(parts, b.perMessage(blockSize), b.segmentOOB(blockSize))
		switch {
		case err == nil || passing(err):
			return nil
		case errors.Is(err, unix.EIO), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EMSGSIZE),
			errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOPROTOOPT):
			// The interface cannot checksum (EIO of udp_send_skb), the kernel knows no
			// UDP_SEGMENT, or the path MTU fell below the block.
			b.gso = false
			sent = n
		default:
			return err
		}
	}
	_, err := b.write(parts[2*sent:], 1, b.oob)
	if err != nil && passing(err) {
		return nil
	}
	return err
}

// perMessage is how many blocks one segmented message carries.
func (b *batcher) perMessage(blockSize int) int {
	return max(1, min(gsoSegments, gsoBytes/(blockSize+headerSize)))
}

// write sends the datagrams whose headers and payloads alternate in parts, per of
// them in each message, and returns how many were handed over.
func (b *batcher) write(parts [][]byte, per int, oob []byte) (int, error) {
	msgs, count := b.msgs[:0], len(parts)/2
	for i := 0; i < count; i += per {
		j := min(i+per, count)
		control := oob
		if j-i == 1 {
			control = b.oob // no segments, no segment size
		}
		msgs = append(msgs, ipv4.Message{Buffers: parts[2*i : 2*j], OOB: control, Addr: b.addr})
	}
	done, retried := 0, false
	for done < len(msgs) {
		n, err := b.conn.WriteBatch(msgs[done:], 0)
		done += max(n, 0)
		if err != nil {
			if passing(err) && !retried {
				retried = true // the error of an earlier datagram; this one did not leave
				continue
			}
			return done * per, err
		}
	}
	return count, nil
}

// segmentOOB is the control data that tells the kernel where to cut.
func (b *batcher) segmentOOB(blockSize int) []byte {
	if b.gsoSize != blockSize {
		b.gsoOOB = appendSegmentSize(append(b.gsoOOB[:0], b.oob...), uint16(blockSize+headerSize))
		b.gsoSize = blockSize
	}
	return b.gsoOOB
}

// appendSegmentSize appends a UDP_SEGMENT control message.
func appendSegmentSize(oob []byte, size uint16) []byte {
	at := len(oob)
	oob = append(oob, make([]byte, unix.CmsgSpace(2))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[at])) //nolint:gosec // the layout that sendmsg(2) wants
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[at+unix.CmsgLen(0):], size)
	return oob
}
