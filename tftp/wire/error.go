package wire

import "fmt"

// Code is the error code of an ERROR datagram.
type Code uint16

// The codes of RFC 1350 appendix I and RFC 2347.
const (
	CodeUndefined  Code = 0 // "see the text"
	CodeNotFound   Code = 1
	CodeForbidden  Code = 2
	CodeNoSpace    Code = 3
	CodeIllegal    Code = 4
	CodeUnknownTID Code = 5
	CodeExists     Code = 6
	CodeNoUser     Code = 7
	CodeOptions    Code = 8 // options refused; firmware also aborts with it after a probe
)

// PeerError is an ERROR datagram that the client sent.
type PeerError struct {
	Code Code
	Text string // printable ASCII
}

// Error names the code and the client's words.
func (e *PeerError) Error() string {
	return fmt.Sprintf("the client ended the transfer: error %d %q", e.Code, e.Text)
}
