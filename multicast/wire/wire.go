// Package wire is the datagram format of a multicast session: parsing and
// appending, no state, no sockets. docs/protocol.md shows every byte.
//
// Three kinds of datagram exist. All begin with a header in clear that is
// authenticated, and end with the 16-byte tag of the cipher:
//
//	Symbol   sender to group    one symbol of one block of the objects
//	Beacon   sender to group    the session is alive; its state and timing
//	Report   member to sender   what the member has and lacks
//
// Numbers are big-endian.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the protocol version in every datagram.
const Version = 1

// Sizes in bytes.
const (
	HeaderSize       = 28 // of Symbol and Beacon: with TagSize and 1408 bytes, 1452: a full IPv6 packet of 1500
	ReportHeaderSize = 20
	TagSize          = 16
	NonceSize        = 12
	SaltSize         = 4
	KeySize          = 32
	beaconSize       = 26 // without members
)

// Type is the kind of a datagram.
type Type uint8

// Kinds of datagram.
const (
	TypeSymbol Type = 1
	TypeBeacon Type = 2
	TypeReport Type = 3
)

// Errors of the parsers. They are returned bare, because a receiver meets them
// once for each foreign datagram.
var (
	ErrShort   = errors.New("datagram is too short")
	ErrVersion = errors.New("datagram has another protocol version")
	ErrType    = errors.New("datagram is of another type")
	ErrFormat  = errors.New("datagram is malformed")
)

// PacketNumber counts the datagrams a sender has sent to the group, from 1,
// across symbols and beacons: gaps show loss.
type PacketNumber uint64

// Header is the clear part of a datagram to the group.
//
//	 0  1  version (high 4 bits) and type (low 4 bits)
//	 1  1  key epoch
//	 2  2  symbol: below k a source symbol, from k on a repair symbol
//	 4  4  session id
//	 8  8  packet number, also the counter part of the nonce
//	16  4  block index
//	20  4  objects: the first 4 bytes of the SHA-256 of all objects' digests
//	24  4  when it was sent: microseconds of the sender's clock, modulo 2^32
type Header struct {
	Type    Type
	Epoch   uint8
	Symbol  uint16
	Session uint32
	Number  PacketNumber
	Block   uint32
	Object  uint32
	Sent    uint32
}

// Append appends the header to b.
func (h *Header) Append(b []byte) []byte {
	b = append(b, Version<<4|byte(h.Type), h.Epoch)
	b = binary.BigEndian.AppendUint16(b, h.Symbol)
	b = binary.BigEndian.AppendUint32(b, h.Session)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Number))
	b = binary.BigEndian.AppendUint32(b, h.Block)
	b = binary.BigEndian.AppendUint32(b, h.Object)
	return binary.BigEndian.AppendUint32(b, h.Sent)
}

// ParseHeader reads the header of a datagram to the group. The sealed part is
// datagram[HeaderSize:]. Errors: ErrShort, ErrVersion, ErrType.
func ParseHeader(datagram []byte) (h Header, err error) {
	if len(datagram) < HeaderSize+TagSize {
		return h, ErrShort
	}
	if datagram[0]>>4 != Version {
		return h, ErrVersion
	}
	h.Type = Type(datagram[0] & 15)
	if h.Type != TypeSymbol && h.Type != TypeBeacon {
		return h, ErrType
	}
	h.Epoch = datagram[1]
	h.Symbol = binary.BigEndian.Uint16(datagram[2:])
	h.Session = binary.BigEndian.Uint32(datagram[4:])
	h.Number = PacketNumber(binary.BigEndian.Uint64(datagram[8:]))
	h.Block = binary.BigEndian.Uint32(datagram[16:])
	h.Object = binary.BigEndian.Uint32(datagram[20:])
	h.Sent = binary.BigEndian.Uint32(datagram[24:])
	return h, nil
}

// Nonce writes the nonce of a datagram: the salt that came with the key, then
// the packet or report number. A number is never used twice with one key.
func Nonce(dst *[NonceSize]byte, salt [SaltSize]byte, number uint64) {
	copy(dst[:], salt[:])
	binary.BigEndian.PutUint64(dst[SaltSize:], number)
}

// State of a session, told in beacons.
type State uint8

// States of a session.
const (
	StateWaiting State = 1 // waits for its start rule
	StateSending State = 2 // symbols flow
	StateIdle    State = 3 // nobody lacks anything
	StateEnded   State = 4 // this is the end; members that lack something must join again
)

// String names the state.
func (s State) String() string {
	switch s {
	case StateWaiting:
		return "waiting"
	case StateSending:
		return "sending"
	case StateIdle:
		return "idle"
	case StateEnded:
		return "ended"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Beacon is the sealed part of a beacon.
//
//	 0  1  state
//	 1  1  current key epoch
//	 2  2  members in the session
//	 4  4  report interval in microseconds
//	 8  8  sending rate in bits per second
//	16  4  members the start rule waits for; 0 when it does not
//	20  4  milliseconds until the session starts in any case; 0 when unknown
//	24  2  number of members that follow
//	26  .. their ids, 4 bytes each: they are far slower than the others and must
//	       take the rest by unicast
type Beacon struct {
	State          State
	Epoch          uint8
	Members        uint16
	ReportInterval uint32
	Rate           uint64
	WaitMembers    uint32
	WaitMillis     uint32
	Moved          []uint32 // at most MaxMoved
}

// MaxMoved is how many members one beacon may name.
const MaxMoved = 200

// Append appends the beacon to b.
func (m *Beacon) Append(b []byte) []byte {
	b = append(b, byte(m.State), m.Epoch)
	b = binary.BigEndian.AppendUint16(b, m.Members)
	b = binary.BigEndian.AppendUint32(b, m.ReportInterval)
	b = binary.BigEndian.AppendUint64(b, m.Rate)
	b = binary.BigEndian.AppendUint32(b, m.WaitMembers)
	b = binary.BigEndian.AppendUint32(b, m.WaitMillis)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Moved)))
	for _, id := range m.Moved {
		b = binary.BigEndian.AppendUint32(b, id)
	}
	return b
}

// ParseBeacon reads an opened beacon. Bytes after the known fields are ignored,
// so that later versions can add some. Errors: ErrShort, ErrFormat.
func ParseBeacon(b []byte) (m Beacon, err error) {
	if len(b) < beaconSize {
		return m, ErrShort
	}
	m.State = State(b[0])
	m.Epoch = b[1]
	m.Members = binary.BigEndian.Uint16(b[2:])
	m.ReportInterval = binary.BigEndian.Uint32(b[4:])
	m.Rate = binary.BigEndian.Uint64(b[8:])
	m.WaitMembers = binary.BigEndian.Uint32(b[16:])
	m.WaitMillis = binary.BigEndian.Uint32(b[20:])
	moved := int(binary.BigEndian.Uint16(b[24:]))
	if m.State < StateWaiting || m.State > StateEnded || moved > MaxMoved {
		return m, ErrFormat
	}
	if len(b) < beaconSize+4*moved {
		return m, ErrShort
	}
	for i := range moved {
		m.Moved = append(m.Moved, binary.BigEndian.Uint32(b[beaconSize+4*i:]))
	}
	return m, nil
}
