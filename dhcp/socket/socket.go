package socket

import "net/netip"

// Tuning of sockets.
const (
	BufferSize    = 2048    // bytes; the largest request that is read
	batchSize     = 32      // packets per system call
	receiveBuffer = 4 << 20 // bytes of socket buffer asked for
)

// Transport is a way to hear requests on one interface and port and to answer
// from it: a bound UDP socket, or a tap beside somebody else's.
type Transport interface {
	// Receive hands every packet over in a buffer and goes on with the buffer it
	// gets back, until the transport fails or is closed.
	Receive(take func([]byte, Received) []byte) error
	// Transmit sends a payload out of the interface.
	Transmit(payload []byte, from, to netip.AddrPort, index int) error
	Close() error
}

// Received is what a transport knows about a packet.
type Received struct {
	Length int
	Source netip.AddrPort
	SentTo netip.Addr
}
