package netio

import "syscall"

// A Place is where a packet stands in the queue of this machine's link. Queues with
// bands (pfifo_fast, prio) send what is Ordinary first, and with it what the kernel
// itself has to say: answers to ARP, acknowledgements of TCP. Queues that are fair to
// flows (fq_codel, cake) need no places and take no notice.
//
// Where more is to be sent than the link takes, one queue for everything loses from
// everything alike: a machine whose question for the server's hardware address is not
// answered for 3 s has "no route to host", and one whose window of TFTP is lost several
// times in a row waits for seconds. Images are what fills the link, and they bear it.
type Place int

// The places: priorities of linux/pkt_sched.h.
const (
	Ordinary Place = 0 // TC_PRIO_BESTEFFORT: the second of three bands
	Bulk     Place = 2 // TC_PRIO_BULK: the third
)

// BulkFrom is the size in bytes from which a file is bulk. Scripts, boot
// configurations and loaders are below, images above.
const BulkFrom = 256 << 10

// PlaceOf is where the packets of a file of that many bytes stand.
func PlaceOf(size int64) Place {
	if size >= BulkFrom {
		return Bulk
	}
	return Ordinary
}

// SetPlace says where the packets of a connection stand that are sent from now on. A
// system that has no places does without.
func SetPlace(conn syscall.Conn, place Place) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = rc.Control(func(fd uintptr) { placeSocket(int(fd), place) })
}
