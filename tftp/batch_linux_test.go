package tftp

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// fakeBatch is a batchConn that remembers datagrams and fails as told.
type fakeBatch struct {
	sent  [][]byte
	calls int
	// fail decides about a message before it is sent.
	fail func(m ipv4.Message) error
}

func (f *fakeBatch) WriteBatch(ms []ipv4.Message, _ int) (int, error) {
	f.calls++
	for i, m := range ms {
		if f.fail != nil {
			if err := f.fail(m); err != nil {
				return i, err
			}
		}
		var all []byte
		for _, b := range m.Buffers {
			all = append(all, b...)
		}
		if size := segmentSize(m.OOB); size > 0 {
			for len(all) > size {
				f.sent = append(f.sent, all[:size])
				all = all[size:]
			}
		}
		f.sent = append(f.sent, all)
		if i == 2 {
			return i + 1, nil // fewer than asked for, as the kernel may
		}
	}
	return len(ms), nil
}

// segmentSize reads UDP_SEGMENT back.
func segmentSize(oob []byte) int {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT {
			return int(data[0]) | int(data[1])<<8
		}
		oob = rest
	}
	return 0
}

func TestBatch(t *testing.T) {
	const blockSize = 1468
	data := randomBytes(20*blockSize + 100) // 21 blocks, the last one short
	check := func(t *testing.T, f *fakeBatch) {
		t.Helper()
		if len(f.sent) != 21 {
			t.Fatalf("%d datagrams", len(f.sent))
		}
		for i, b := range f.sent {
			want := appendData(nil, 65530+int64(i), data[i*blockSize:min((i+1)*blockSize, len(data))])
			if !bytes.Equal(b, want) {
				t.Errorf("datagram %d differs", i)
			}
		}
	}
	segmented := func(m ipv4.Message) bool { return segmentSize(m.OOB) > 0 }

	t.Run("segmented", func(t *testing.T) {
		f := &fakeBatch{}
		b := &batcher{conn: f, gso: true, room: 1472, oob: unix.PktInfo4(&unix.Inet4Pktinfo{})}
		if err := b.sendBlocks(65530, 21, blockSize, data); err != nil {
			t.Fatal(err)
		}
		check(t, f)
		if f.calls != 1 {
			t.Errorf("%d system calls", f.calls)
		}
	})
	for _, errno := range []unix.Errno{unix.EIO, unix.EINVAL, unix.EMSGSIZE, unix.EOPNOTSUPP} {
		t.Run("no segmentation: "+errno.Error(), func(t *testing.T) {
			f := &fakeBatch{fail: func(m ipv4.Message) error {
				if segmented(m) {
					return errno
				}
				return nil
			}}
			b := &batcher{conn: f, gso: true, room: 1472}
			for range 2 {
				f.sent, f.calls = nil, 0
				if err := b.sendBlocks(65530, 21, blockSize, data); err != nil {
					t.Fatal(err)
				}
				check(t, f)
			}
			if b.gso || f.calls != 7 {
				t.Errorf("tried again: %d calls", f.calls)
			}
		})
	}
	t.Run("an old error is reported once", func(t *testing.T) {
		failed := false
		f := &fakeBatch{fail: func(ipv4.Message) error {
			if !failed {
				failed = true
				return unix.ECONNREFUSED
			}
			return nil
		}}
		b := &batcher{conn: f, gso: true, room: 1472}
		if err := b.sendBlocks(65530, 21, blockSize, data); err != nil {
			t.Fatal(err)
		}
		check(t, f)
	})
	t.Run("a full queue is a loss", func(t *testing.T) {
		f := &fakeBatch{fail: func(ipv4.Message) error { return unix.ENOBUFS }}
		b := &batcher{conn: f, gso: true, room: 1472}
		if err := b.sendBlocks(65530, 21, blockSize, data); err != nil {
			t.Fatal(err)
		}
		if !b.gso {
			t.Error("segmentation was given up for it")
		}
	})
	t.Run("other errors are told", func(t *testing.T) {
		f := &fakeBatch{fail: func(ipv4.Message) error { return unix.EPERM }}
		b := &batcher{conn: f, gso: true, room: 1472}
		if err := b.sendBlocks(65530, 21, blockSize, data); !errors.Is(err, unix.EPERM) {
			t.Errorf("%v", err)
		}
	})
	t.Run("blocks above the MTU are not segmented", func(t *testing.T) {
		f := &fakeBatch{fail: func(m ipv4.Message) error {
			if segmented(m) {
				t.Error("segmented")
			}
			return nil
		}}
		b := &batcher{conn: f, gso: true, room: 1471}
		if err := b.sendBlocks(65530, 21, blockSize, data); err != nil {
			t.Fatal(err)
		}
		check(t, f)
	})
}

func TestArrival(t *testing.T) {
	// The kernel fills in both addresses; on a broadcast they differ.
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 3, Spec_dst: [4]byte{192, 0, 2, 1}, Addr: [4]byte{192, 0, 2, 255}})
	a, ok := parseArrival(append(unix.UnixRights(1), oob...))
	if !ok || a.index != 3 || a.local.String() != "192.0.2.1" || a.dst.String() != "192.0.2.255" {
		t.Errorf("%+v, %v", a, ok)
	}
	var ll [16]byte
	ll[0], ll[1], ll[15] = 0xfe, 0x80, 9
	a, ok = parseArrival(unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: 7, Addr: ll}))
	if !ok || a.index != 7 || a.dst.String() != "fe80::9%7" {
		t.Errorf("%+v, %v", a, ok)
	}
	for n := range oob {
		if _, ok := parseArrival(oob[:n]); ok && n < unix.CmsgLen(unix.SizeofInet4Pktinfo) {
			t.Errorf("understood %d bytes", n)
		}
	}
	if got, ok := parseArrival(sourceOOB(a.dst, a.index)); !ok || got.dst != a.dst {
		t.Errorf("source address comes back as %+v", got)
	}
}

// TestBroadcastIsIgnored: RFC 1123 section 4.2.3.5.
func TestBroadcastIsIgnored(t *testing.T) {
	rec := newRecorder()
	s := startServer(t, Config{Open: serveFiles(nil), Observer: rec.observe})
	w := dialWire(t, s.Addrs()[0])
	l := s.listeners[0]
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 0, 0, 1}, Addr: [4]byte{255, 255, 255, 255}})
	l.take(t.Context(), rrqBytes("a", "octet"), oob, w.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	if ks := rec.kinds(); len(ks) != 0 {
		t.Errorf("events %v", ks)
	}
	oob = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 0, 0, 1}, Addr: [4]byte{127, 0, 0, 1}})
	l.take(t.Context(), rrqBytes("a", "octet"), oob, w.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	rec.await(t, Refused, 1)
}
