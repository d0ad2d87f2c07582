package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"castpoint/tftp/wire"
)

// File is an open file of known size. Its ReadAt is called by one goroutine at a
// time.
type File interface {
	io.ReaderAt
	Size() int64 // bytes
	Close() error
}

// Upload takes the bytes of a write request in order. Exactly one of Commit and
// Abort is called, last.
type Upload interface {
	io.Writer
	Commit() error // all bytes arrived; the client is told only when it returns nil
	Abort()        // throw away what came
}

// Config is what a Server is made of. Only Open is required; a zero field means
// the default given with it, and -1 means no limit where that is said.
type Config struct {
	// Open opens the file of a read request. It is called in the goroutine of the
	// transfer, so it may take its time; ctx ends with the server. Its errors are
	// explained at ErrNotFound.
	Open func(ctx context.Context, r Request) (File, error)
	// Create begins the upload of a write request. nil refuses every one.
	Create func(ctx context.Context, r Request) (Upload, error)

	Log *zap.Logger // nil logs nothing
	// Observer is told every Event, from several goroutines at once; it must
	// return soon, because the transfer waits.
	Observer func(Event)

	// MaxBlockSize is the largest payload of a DATA datagram in bytes, 8 to 65464;
	// default 65464, which leaves the decision to the path MTU.
	MaxBlockSize int
	// Fragment allows block sizes above the path MTU when the client asks for
	// them. The network then carries IP fragments, and one lost fragment loses the
	// block.
	Fragment bool
	// MaxWindow is the largest window in blocks that is granted; default 64: more
	// gains nothing and overruns clients. A client that negotiates msftwindow
	// chooses up to 255 by itself.
	MaxWindow int

	// SinglePort sends everything from the listening port, for firewalls and NAT
	// that follow only that one.
	SinglePort bool
	// PortMin and PortMax are the ports that transfers use when not SinglePort;
	// both 0 lets the kernel choose.
	PortMin, PortMax uint16
	// NoOffload turns UDP segmentation offload off.
	NoOffload bool

	// MaxTransfers is how many transfers run at once; default 1024, -1 no limit.
	// Requests beyond it are dropped without an answer: firmware repeats its
	// request for half a minute, while an ERROR would end the boot.
	MaxTransfers int
	// MaxPerClient is how many transfers one client address has at once; default
	// 32, -1 no limit (many clients behind one NAT address).
	MaxPerClient int
	// IdleTimeout ends a transfer when the client has acknowledged nothing new for
	// so long; default 30 s.
	IdleTimeout time.Duration
	// Rate and ClientRate limit the bytes per second sent in all and to each
	// client address, headers included; 0 is no limit, else at least 8192.
	Rate, ClientRate int64
	// MaxUpload is the size in bytes at which an upload is refused; default 64 MiB.
	MaxUpload int64
}

// withDefaults checks the configuration and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if c.Open == nil {
		return c, errors.New("tftp: Config.Open is nil, there is nothing to serve")
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Observer == nil {
		c.Observer = func(Event) {}
	}
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&c.MaxBlockSize, wire.MaxBlockSize)
	set(&c.MaxWindow, 64)
	set(&c.MaxTransfers, 1024)
	set(&c.MaxPerClient, 32)
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 30 * time.Second
	}
	if c.MaxUpload == 0 {
		c.MaxUpload = 64 << 20
	}
	switch {
	case c.MaxBlockSize < wire.MinBlockSize || c.MaxBlockSize > wire.MaxBlockSize:
		return c, fmt.Errorf("tftp: block size limit %d is not within %d to %d bytes", c.MaxBlockSize, wire.MinBlockSize, wire.MaxBlockSize)
	case c.MaxWindow < 1 || c.MaxWindow > 1024:
		return c, fmt.Errorf("tftp: window limit %d is not within 1 to 1024 blocks", c.MaxWindow)
	case c.MaxTransfers < -1 || c.MaxPerClient < -1:
		return c, errors.New("tftp: a limit of transfers below -1")
	case c.IdleTimeout < time.Second:
		return c, fmt.Errorf("tftp: idle timeout %v is below 1s, slower than a lost packet", c.IdleTimeout)
	case (c.PortMin == 0) != (c.PortMax == 0) || c.PortMin > c.PortMax:
		return c, fmt.Errorf("tftp: port range %d to %d is not a range", c.PortMin, c.PortMax)
	case c.SinglePort && c.PortMin != 0:
		return c, errors.New("tftp: a port range has no meaning in single-port mode")
	case c.Rate != 0 && c.Rate < 8192 || c.ClientRate != 0 && c.ClientRate < 8192:
		return c, errors.New("tftp: a rate limit below 8192 bytes per second, clients would give up")
	case c.MaxUpload < 0:
		return c, errors.New("tftp: a negative upload size limit")
	}
	return c, nil
}
