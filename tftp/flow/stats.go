package flow

import "time"

// Stats counts what a transfer did.
type Stats struct {
	Size  int64 // bytes of the file; -1 when not known (uploads without tsize)
	Bytes int64 // payload bytes that the client acknowledged (reads) or sent (writes)

	Blocks        int64 // blocks acknowledged (reads) or received (writes)
	Sent          int64 // DATA datagrams sent, repeated ones included
	Retransmitted int64 // DATA datagrams sent more than once
	Timeouts      int   // how often nothing came within the retransmission interval
	GoBacks       int   // how often an ACK made the server go back
	DuplicateACKs int64 // ACKs that told nothing new

	RTT      time.Duration // smoothed time from a flight's last block to its ACK; 0 when never measured
	Duration time.Duration // from the request to the end

	// Confirmed is false for a finished read whose last ACK never came: all was
	// sent, and some ROMs start what they loaded without acknowledging it.
	Confirmed bool
}

// Rate is the payload rate in bytes per second.
func (s Stats) Rate() float64 {
	if s.Duration <= 0 {
		return 0
	}
	return float64(s.Bytes) / s.Duration.Seconds()
}
