package netio

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAncillary(t *testing.T) {
	for name, oob := range map[string][]byte{
		"nothing":         nil,
		"half a header":   make([]byte, 8),
		"length zero":     make([]byte, 32),
		"length too long": {255, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 104, 0, 0, 0},
	} {
		if n, at := ancillary(oob); n != 0 || !at.IsZero() {
			t.Errorf("%s: %d, %v", name, n, at)
		}
	}
}

// A reader rests longer while little comes, and shortly while much does.
func TestGather(t *testing.T) {
	r := &batchReader{}
	got := make([]mmsghdr, 4)
	for _, step := range []struct {
		bytes int // of each of the four buffers
		want  time.Duration
	}{
		{bytes: 60_000, want: minGather},
		{bytes: 1476, want: 2 * time.Millisecond},
		{bytes: 30_000, want: 2 * time.Millisecond}, // enough
		{bytes: 1476, want: maxGather},
		{bytes: 1476, want: maxGather},
		{bytes: 60_000, want: 2 * time.Millisecond},
		{bytes: 60_000, want: minGather},
		{bytes: 60_000, want: minGather},
	} {
		for i := range got {
			got[i].n = uint32(step.bytes)
		}
		if r.pace(got); r.gather != step.want {
			t.Fatalf("after 4 buffers of %d bytes the reader gathers for %v, want %v", step.bytes, r.gather, step.want)
		}
	}
}

// A reader that samples has times of arrival for some datagrams, and asks for them no
// more often than it needs.
func TestSampleArrivals(t *testing.T) {
	at := netip.MustParseAddrPort("239.192.67.248:17894")
	s, err := OpenGroupSender(GroupSenderConfig{Interface: "lo", Group: at})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, err := OpenGroupReceiver(GroupReceiverConfig{Group: at, Feedback: s.Local(), SampleArrivals: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	_ = r.SetReadDeadline(time.Now().Add(10 * time.Second))
	timed, plain := 0, 0
	began := time.Now()
	for timed < 3 || plain < 3 {
		if err := s.WriteGroup([]byte("datagram"), 100); err != nil {
			t.Fatal(err)
		}
		if err := r.ReadGroup(func(_ []byte, _ netip.Addr, at time.Time) {
			switch {
			case at.IsZero():
				plain++
			case at.Before(began) || at.After(time.Now()):
				t.Errorf("arrived at %v, sent after %v", at, began)
			default:
				timed++
			}
		}); err != nil {
			t.Fatalf("with %d timed, %d plain datagrams: %v", timed, plain, err)
		}
	}
	r.reader.mu.Lock()
	defer r.reader.mu.Unlock()
	now := time.Now()
	if r.reader.stamps { // on a slow machine the last read was long after the one before
		r.reader.sample(now)
	}
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{stampRest, true}, {0, false}, {stampRest / 2, false}, {stampRest, true}} {
		now = now.Add(step.after)
		if r.reader.sample(now); r.reader.stamps != step.want {
			t.Errorf("%v later: times of arrival %v, want %v", step.after, r.reader.stamps, step.want)
		}
	}
}

// A sender that is closed while the socket's buffer is full returns.
func TestCloseWhileSending(t *testing.T) {
	s, _ := pair(t, "239.192.67.247:17893")
	ended := make(chan error)
	go func() {
		for {
			if err := s.WriteGroup(make([]byte, 60_000), 1452); err != nil {
				ended <- err
				return
			}
		}
	}()
	_ = s.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ends with %v, want %v", err, net.ErrClosed)
	}
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
}

// What the kernel writes as a datagram's sender.
func TestSenderName(t *testing.T) {
	family := func(f uint16) []byte { return binary.NativeEndian.AppendUint16(nil, f) }
	v6 := netip.MustParseAddr("2001:db8::7").As16()
	for want, name := range map[string][]byte{
		"192.0.2.7":   append(family(unix.AF_INET), 0x1e, 0x78, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0),
		"2001:db8::7": slices.Concat(family(unix.AF_INET6), []byte{0x1e, 0x78, 0, 0, 0, 0}, v6[:], []byte{3, 0, 0, 0}),
	} {
		if got := sender(name); got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := sender(name[:7]); got.IsValid() {
			t.Errorf("cut short it is %s", got)
		}
	}
	if got := sender(make([]byte, readName)); got.IsValid() {
		t.Errorf("of no family it is %s", got)
	}
}
