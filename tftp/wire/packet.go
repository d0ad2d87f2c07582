package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Protocol numbers.
const (
	OpRRQ   = 1 // RFC 1350 section 5
	OpWRQ   = 2
	OpDATA  = 3
	OpACK   = 4
	OpERROR = 5
	OpOACK  = 6 // RFC 2347

	HeaderSize = 4 // Opcode and block number in front of a DATA payload

	DefaultBlockSize = 512   // RFC 1350; what a client gets that asks for nothing
	MinBlockSize     = 8     // RFC 2348
	MaxBlockSize     = 65464 // RFC 2348
	maxWindow        = 65535 // RFC 7440
)

// Limits on what a request may hold. RFC 2347 allows 512 bytes in all; real
// requests stay below 200.
const (
	maxRequestOptions = 32
	maxErrorText      = 512
)

// Option is one option of a request or of an OACK, spelled as it was sent.
type Option struct {
	Name, Value string
}

// Mode is the transfer mode of a request.
type Mode uint8

// The modes of RFC 1350 that are served.
const (
	Octet    Mode = iota // bytes as they are
	Netascii             // lines end in CR LF, a lone CR is CR NUL
)

// String is the mode as the protocol spells it.
func (m Mode) String() string {
	if m == Netascii {
		return "netascii"
	}
	return "octet"
}

// Request is a parsed RRQ or WRQ.
type Request struct {
	Write   bool
	Name    string // as sent, less the quirks noted in ParseRequest
	Mode    Mode
	Options []Option
}

// Errors of requests.
var (
	ErrNotRequest = errors.New("not a read or write request")
	ErrIllegal    = errors.New("illegal request")
)

// Opcode is the operation of a datagram, 0 when it is too short to have one.
func Opcode(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// ParseRequest reads an RRQ or WRQ. It returns ErrNotRequest for another
// operation, and an error that matches ErrIllegal for a request that cannot be
// understood.
//
// Firmware is not exact, so two things are forgiven: bytes of 0xFF at the end of
// the file name (old PXE ROMs copy the end option that follows option 67 in the
// DHCP packet), and anything behind the last complete option (ROMs that send
// their whole buffer, filled with zeros).
func ParseRequest(b []byte) (Request, error) {
	var r Request
	switch Opcode(b) {
	case OpRRQ:
	case OpWRQ:
		r.Write = true
	default:
		return r, ErrNotRequest
	}
	name, rest, ok := cutString(b[2:])
	if !ok {
		return r, fmt.Errorf("%w: the file name has no end", ErrIllegal)
	}
	for name != "" && name[len(name)-1] == 0xff {
		name = name[:len(name)-1]
	}
	r.Name = name
	mode, rest, ok := cutString(rest)
	if !ok {
		return r, fmt.Errorf("%w: the transfer mode has no end", ErrIllegal)
	}
	switch strings.ToLower(mode) {
	case "octet":
		r.Mode = Octet
	case "netascii":
		r.Mode = Netascii
	default:
		return r, fmt.Errorf("%w: transfer mode %q is not served, use octet", ErrIllegal, Printable(mode, 16))
	}
	for len(r.Options) < maxRequestOptions {
		var o Option
		if o.Name, rest, ok = cutString(rest); !ok || o.Name == "" {
			break
		}
		if o.Value, rest, ok = cutString(rest); !ok {
			break
		}
		r.Options = append(r.Options, o)
	}
	return r, nil
}

// cutString splits b behind its first NUL.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// Ack is a parsed ACK.
type Ack struct {
	Block uint16
	// Window is the byte behind the block number, the client's next window under
	// Microsoft's msftwindow option; HasWindow tells whether there was one.
	Window    uint8
	HasWindow bool
}

// ParseAck reads an ACK. Bytes behind the fifth are ignored: some clients pad.
func ParseAck(b []byte) (a Ack, ok bool) {
	if len(b) < HeaderSize || Opcode(b) != OpACK {
		return a, false
	}
	a.Block = binary.BigEndian.Uint16(b[2:])
	if len(b) > HeaderSize {
		a.Window, a.HasWindow = b[HeaderSize], true
	}
	return a, true
}

// ParseError reads an ERROR. The text is made Printable.
func ParseError(b []byte) (e PeerError, ok bool) {
	if len(b) < HeaderSize || Opcode(b) != OpERROR {
		return e, false
	}
	text := b[HeaderSize:]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	return PeerError{
		Code: Code(binary.BigEndian.Uint16(b[2:])),
		Text: Printable(string(text), maxErrorText),
	}, true
}

// ParseData reads a DATA datagram.
func ParseData(b []byte) (block uint16, payload []byte, ok bool) {
	if len(b) < HeaderSize || Opcode(b) != OpDATA {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b[2:]), b[HeaderSize:], true
}

// ParseOACK reads the options of an OACK.
func ParseOACK(b []byte) ([]Option, bool) {
	if Opcode(b) != OpOACK {
		return nil, false
	}
	var options []Option
	rest := b[2:]
	for len(rest) > 0 {
		var o Option
		var ok bool
		if o.Name, rest, ok = cutString(rest); !ok {
			return nil, false
		}
		if o.Value, rest, ok = cutString(rest); !ok {
			return nil, false
		}
		options = append(options, o)
	}
	return options, true
}

// PutDataHeader writes the header of the DATA datagram of a block.
func PutDataHeader(b []byte, block int64) {
	binary.BigEndian.PutUint16(b, OpDATA)
	binary.BigEndian.PutUint16(b[2:], uint16(block)) // 0 follows 65535
}

// AppendData appends the DATA datagram of a block.
func AppendData(b []byte, block int64, payload []byte) []byte {
	b = append(b, 0, 0, 0, 0)
	PutDataHeader(b[len(b)-HeaderSize:], block)
	return append(b, payload...)
}

// AppendAck appends an ACK.
func AppendAck(b []byte, block uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, OpACK)
	return binary.BigEndian.AppendUint16(b, block)
}

// AppendOACK appends an OACK.
func AppendOACK(b []byte, options []Option) []byte {
	b = binary.BigEndian.AppendUint16(b, OpOACK)
	for _, o := range options {
		b = append(append(b, o.Name...), 0)
		b = append(append(b, o.Value...), 0)
	}
	return b
}

// AppendError appends an ERROR.
func AppendError(b []byte, code Code, text string) []byte {
	b = binary.BigEndian.AppendUint16(b, OpERROR)
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(append(b, text...), 0)
}

// Printable is s cut to max bytes, with every byte that is not Printable ASCII
// replaced by '?': what comes from the network ends in logs and on screens, and
// what goes to firmware meets a text mode that knows ASCII.
func Printable(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			b := []byte(s)
			for j := range b {
				if b[j] < ' ' || b[j] > '~' {
					b[j] = '?'
				}
			}
			return string(b)
		}
	}
	return s
}
