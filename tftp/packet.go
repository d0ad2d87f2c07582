package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Protocol numbers.
const (
	opRRQ   = 1 // RFC 1350 section 5
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6 // RFC 2347

	headerSize = 4 // opcode and block number in front of a DATA payload

	defaultBlockSize = 512   // RFC 1350; what a client gets that asks for nothing
	minBlockSize     = 8     // RFC 2348
	maxBlockSize     = 65464 // RFC 2348
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

// request is a parsed RRQ or WRQ.
type request struct {
	write   bool
	name    string // as sent, less the quirks noted in parseRequest
	mode    Mode
	options []Option
}

var errNotRequest = errors.New("not a read or write request")

// opcode is the operation of a datagram, 0 when it is too short to have one.
func opcode(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// parseRequest reads an RRQ or WRQ. It returns errNotRequest for another
// operation, and an error that matches ErrIllegal for a request that cannot be
// understood.
//
// Firmware is not exact, so two things are forgiven: bytes of 0xFF at the end of
// the file name (old PXE ROMs copy the end option that follows option 67 in the
// DHCP packet), and anything behind the last complete option (ROMs that send
// their whole buffer, filled with zeros).
func parseRequest(b []byte) (request, error) {
	var r request
	switch opcode(b) {
	case opRRQ:
	case opWRQ:
		r.write = true
	default:
		return r, errNotRequest
	}
	name, rest, ok := cutString(b[2:])
	if !ok {
		return r, fmt.Errorf("%w: the file name has no end", ErrIllegal)
	}
	for name != "" && name[len(name)-1] == 0xff {
		name = name[:len(name)-1]
	}
	r.name = name
	mode, rest, ok := cutString(rest)
	if !ok {
		return r, fmt.Errorf("%w: the transfer mode has no end", ErrIllegal)
	}
	switch strings.ToLower(mode) {
	case "octet":
		r.mode = Octet
	case "netascii":
		r.mode = Netascii
	default:
		return r, fmt.Errorf("%w: transfer mode %q is not served, use octet", ErrIllegal, printable(mode, 16))
	}
	for len(r.options) < maxRequestOptions {
		var o Option
		if o.Name, rest, ok = cutString(rest); !ok || o.Name == "" {
			break
		}
		if o.Value, rest, ok = cutString(rest); !ok {
			break
		}
		r.options = append(r.options, o)
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

// ack is a parsed ACK.
type ack struct {
	block uint16
	// window is the byte behind the block number, the client's next window under
	// Microsoft's msftwindow option; hasWindow tells whether there was one.
	window    uint8
	hasWindow bool
}

// parseAck reads an ACK. Bytes behind the fifth are ignored: some clients pad.
func parseAck(b []byte) (a ack, ok bool) {
	if len(b) < headerSize || opcode(b) != opACK {
		return a, false
	}
	a.block = binary.BigEndian.Uint16(b[2:])
	if len(b) > headerSize {
		a.window, a.hasWindow = b[headerSize], true
	}
	return a, true
}

// parseError reads an ERROR. The text is made printable.
func parseError(b []byte) (e PeerError, ok bool) {
	if len(b) < headerSize || opcode(b) != opERROR {
		return e, false
	}
	text := b[headerSize:]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	return PeerError{
		Code: Code(binary.BigEndian.Uint16(b[2:])),
		Text: printable(string(text), maxErrorText),
	}, true
}

// parseData reads a DATA datagram.
func parseData(b []byte) (block uint16, payload []byte, ok bool) {
	if len(b) < headerSize || opcode(b) != opDATA {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b[2:]), b[headerSize:], true
}

// parseOACK reads the options of an OACK.
func parseOACK(b []byte) ([]Option, bool) {
	if opcode(b) != opOACK {
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

// putDataHeader writes the header of the DATA datagram of a block.
func putDataHeader(b []byte, block int64) {
	binary.BigEndian.PutUint16(b, opDATA)
	binary.BigEndian.PutUint16(b[2:], uint16(block)) // 0 follows 65535
}

// appendData appends the DATA datagram of a block.
func appendData(b []byte, block int64, payload []byte) []byte {
	b = append(b, 0, 0, 0, 0)
	putDataHeader(b[len(b)-headerSize:], block)
	return append(b, payload...)
}

// appendAck appends an ACK.
func appendAck(b []byte, block uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, opACK)
	return binary.BigEndian.AppendUint16(b, block)
}

// appendOACK appends an OACK.
func appendOACK(b []byte, options []Option) []byte {
	b = binary.BigEndian.AppendUint16(b, opOACK)
	for _, o := range options {
		b = append(append(b, o.Name...), 0)
		b = append(append(b, o.Value...), 0)
	}
	return b
}

// appendError appends an ERROR.
func appendError(b []byte, code Code, text string) []byte {
	b = binary.BigEndian.AppendUint16(b, opERROR)
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(append(b, text...), 0)
}

// printable is s cut to max bytes, with every byte that is not printable ASCII
// replaced by '?': what comes from the network ends in logs and on screens, and
// what goes to firmware meets a text mode that knows ASCII.
func printable(s string, max int) string {
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
