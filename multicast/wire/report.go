package wire

import "encoding/binary"

// MaxReport is the largest report in bytes, header and tag included; it fits
// every link that IPv6 runs on (1280 bytes less 48 of IP and UDP header).
const MaxReport = 1232

// ReportHeader is the clear part of a report.
//
//	 0  1  version and type
//	 1  1  zero
//	 2  2  zero
//	 4  4  session id
//	 8  8  report number, also the counter part of the nonce
//	16  4  member id
type ReportHeader struct {
	Session uint32
	Number  uint64
	Member  uint32
}

// Append appends the header to b.
func (h *ReportHeader) Append(b []byte) []byte {
	b = append(b, Version<<4|byte(TypeReport), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.Session)
	b = binary.BigEndian.AppendUint64(b, h.Number)
	return binary.BigEndian.AppendUint32(b, h.Member)
}

// ParseReportHeader reads the header of a report. Errors: ErrShort, ErrVersion,
// ErrType.
func ParseReportHeader(datagram []byte) (h ReportHeader, err error) {
	if len(datagram) < ReportHeaderSize+TagSize {
		return h, ErrShort
	}
	if datagram[0]>>4 != Version {
		return h, ErrVersion
	}
	if Type(datagram[0]&15) != TypeReport {
		return h, ErrType
	}
	h.Session = binary.BigEndian.Uint32(datagram[4:])
	h.Number = binary.BigEndian.Uint64(datagram[8:])
	h.Member = binary.BigEndian.Uint32(datagram[16:])
	return h, nil
}

// Report is the sealed part of a report: the member's state, not what changed,
// so that any report can be lost.
//
//	 0  8  highest packet number seen
//	 8  8  packets received: distinct, authenticated, symbols and beacons
//	16  4  queueing delay in microseconds: how much longer the fastest packet
//	       since the last report took than the fastest ever
//	20  4  backlog in KiB: received, not yet on disk
//	24  4  blocks complete
//	28  4  first block the runs speak of
//	32  4  end of the runs: first block they do not speak of
//	36  .. runs, each a varint gap of complete blocks, a varint count of
//	       incomplete blocks less one, and one byte of deficit
//
// Blocks between the runs are complete; blocks outside [From, To) are in other
// reports.
type Report struct {
	Highest    PacketNumber
	Received   uint64
	QueueDelay uint32
	Backlog    uint32
	Complete   uint32
	From, To   uint32
	Runs       []byte // encoded; see AppendRun and NextRun
}

const reportFixed = 36

// MaxRuns is how many bytes of runs fit into a report.
const MaxRuns = MaxReport - ReportHeaderSize - reportFixed - TagSize

// Run is a run of blocks that lack the same number of symbols.
type Run struct {
	Gap     uint32 // complete blocks before the run
	Count   uint32 // blocks in the run, at least 1
	Deficit uint8  // symbols that each of them lacks, at least 1
}

// AppendRun appends the run to b, or returns b and false when it would grow
// over MaxRuns.
func AppendRun(b []byte, r Run) ([]byte, bool) {
	n := len(b)
	b = binary.AppendUvarint(b, uint64(r.Gap))
	b = binary.AppendUvarint(b, uint64(r.Count-1))
	b = append(b, r.Deficit)
	if len(b) > MaxRuns {
		return b[:n], false
	}
	return b, true
}

// NextRun reads the first run of b and returns the rest. Errors: ErrFormat.
func NextRun(b []byte) (r Run, rest []byte, err error) {
	gap, n := binary.Uvarint(b)
	if n <= 0 || gap > 1<<32-1 {
		return r, nil, ErrFormat
	}
	b = b[n:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count >= 1<<32-1 || len(b) < n+1 {
		return r, nil, ErrFormat
	}
	r = Run{Gap: uint32(gap), Count: uint32(count) + 1, Deficit: b[n]}
	if r.Deficit == 0 {
		return r, nil, ErrFormat
	}
	return r, b[n+1:], nil
}

// Append appends the report to b.
func (r *Report) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Highest))
	b = binary.BigEndian.AppendUint64(b, r.Received)
	b = binary.BigEndian.AppendUint32(b, r.QueueDelay)
	b = binary.BigEndian.AppendUint32(b, r.Backlog)
	b = binary.BigEndian.AppendUint32(b, r.Complete)
	b = binary.BigEndian.AppendUint32(b, r.From)
	b = binary.BigEndian.AppendUint32(b, r.To)
	return append(b, r.Runs...)
}

// ParseReport reads an opened report of an object of the given number of
// blocks, and checks every run against it. Runs refers to b. Errors: ErrShort,
// ErrFormat.
func ParseReport(b []byte, blocks uint32) (r Report, err error) {
	if len(b) < reportFixed {
		return r, ErrShort
	}
	r.Highest = PacketNumber(binary.BigEndian.Uint64(b))
	r.Received = binary.BigEndian.Uint64(b[8:])
	r.QueueDelay = binary.BigEndian.Uint32(b[16:])
	r.Backlog = binary.BigEndian.Uint32(b[20:])
	r.Complete = binary.BigEndian.Uint32(b[24:])
	r.From = binary.BigEndian.Uint32(b[28:])
	r.To = binary.BigEndian.Uint32(b[32:])
	r.Runs = b[reportFixed:]
	if r.From > r.To || r.To > blocks || r.Complete > blocks {
		return r, ErrFormat
	}
	at := uint64(r.From)
	for rest := r.Runs; len(rest) > 0; {
		var run Run
		if run, rest, err = NextRun(rest); err != nil {
			return r, err
		}
		at += uint64(run.Gap) + uint64(run.Count)
		if at > uint64(r.To) {
			return r, ErrFormat
		}
	}
	return r, nil
}
