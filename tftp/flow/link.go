package flow

import (
	"time"

	"castpoint/internal/netio"
)

// Link is a transfer's way to its client and back.
type Link interface {
	// Receive reads the client's next datagram into buf. It returns an error that
	// matches os.ErrDeadlineExceeded when none came in time, ErrInterrupted after
	// it was interrupted, and ErrPeerClosed when the client's machine refused a datagram.
	Receive(buf []byte, deadline time.Time) (int, error)
	// Sleep lets time pass, and returns ErrInterrupted after it was interrupted.
	Sleep(d time.Duration) error
	// Blocking tells that what comes next may take its time: other transfers are
	// not to wait for it.
	Blocking()
	// Send sends one datagram.
	Send(b []byte) error
	// SendBlocks sends the DATA datagrams of count consecutive blocks; data holds
	// their payloads one behind the other, the last one possibly short or empty.
	SendBlocks(first int64, count, blockSize int, data []byte) error
	// Stand says where what is sent from now on stands in the queue of the link.
	Stand(place netio.Place)
}

// MaxBatch is the most DATA datagrams handed to a link at once.
const MaxBatch = 64
