// Package client is the network side of machines that have no body: DHCP as
// firmware speaks it, TFTP and HTTP as loaders do, and what an agent says while it
// runs a task sequence. Its sockets are in the namespace of a lab's host, and there can
// be hundreds of them in one process.
//
// The package shares no code with the servers that it talks to.
package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"castpoint/internal/lab"
)

// A Stated error is one that the server has told: a TFTP error packet, an HTTP
// status, a DHCPNAK. Everything else that goes wrong is silence or nonsense.
type Stated struct {
	By   string // "TFTP error 1", "HTTP status 404", "DHCPNAK"
	Text string
}

func (e *Stated) Error() string { return e.By + ": " + e.Text }

// IsStated tells whether the server has said what is wrong.
func IsStated(err error) bool {
	var s *Stated
	return errors.As(err, &s)
}

// Sum is the SHA-256 of bytes as Fetched has it.
func Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ListenUDP opens a UDP socket on the host, on port 0 a free one. With broadcast
// it may send to 255.255.255.255, which leaves by the cable.
func ListenUDP(h *lab.Host, port int, broadcast bool) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := h.Do(func() error {
		config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			return errors.Join(raw.Control(func(fd uintptr) {
				if broadcast {
					// The limited broadcast has no route.
					err = errors.Join(syscall.BindToDevice(int(fd), "eth0"),
						syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1))
				}
			}), err)
		}}
		c, err := config.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", port))
		if err == nil {
			conn = c.(*net.UDPConn)
		}
		return err
	})
	return conn, err
}

// Dial opens a TCP connection from the host.
func Dial(ctx context.Context, h *lab.Host, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
		return err
	})
	return conn, err
}
