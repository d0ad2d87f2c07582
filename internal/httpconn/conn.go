// Package httpconn is what an HTTP server has to know of the connections below its
// requests: how many there may be, where their packets stand in the queue of the link,
// and whether a client has got what was written.
package httpconn

import (
	"context"
	"net"
	"sync"
	"syscall"

	"castpoint/internal/netio"
)

type connKey struct{}

// conn is the TCP connection of a request.
type conn struct {
	socket syscall.Conn

	mu    sync.Mutex
	place netio.Place
}

// Context is http.Server.ConnContext of servers whose handlers call TakePlace
// or Delivered.
func Context(ctx context.Context, c net.Conn) context.Context {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // of TLS
		c = wrapped.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, &conn{socket: socket})
}

// TakePlace says where the answer stands that is written next to the connection of a
// request.
func TakePlace(ctx context.Context, place netio.Place) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.place != place {
		c.place = place
		netio.SetPlace(c.socket, place)
	}
}
