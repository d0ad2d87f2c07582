package flow

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"
)

// kept is an upload in memory.
type kept struct {
	bytes.Buffer
	committed bool
}

func (k *kept) commit() error {
	k.committed = true
	return nil
}

// TestUploadSimulated carries uploads over bad networks.
func TestUploadSimulated(t *testing.T) {
	for _, bad := range []bool{false, true} {
		for _, options := range [][]wire.Option{
			nil,
			{{Name: "blksize", Value: "1024"}, {Name: "tsize", Value: "5"}},
			{{Name: "blksize", Value: "700"}, {Name: "windowsize", Value: "8"}, {Name: "timeout", Value: "1"}},
		} {
			for _, size := range []int{0, 511, 512, 100_000} {
				t.Run(fmt.Sprintf("bad %v, %v, %d bytes", bad, options, size), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := newSimNet(uint64(size))
						n.minDelay, n.maxDelay = 100*time.Microsecond, 100*time.Microsecond
						if bad {
							n.loss, n.double, n.maxDelay = .2, .2, 10*time.Millisecond
						}
						data := tftpclient.RandomBytes(size)
						var got kept
						var stats Stats
						served := make(chan error, 1)
						go func() {
							buf := make([]byte, 2048)
							m, err := n.server.Receive(buf, time.Now().Add(time.Hour))
							if err != nil {
								served <- err
								return
							}
							r, err := wire.ParseRequest(buf[:m])
							if err != nil {
								served <- err
								return
							}
							terms, answer := wire.Negotiate(r.Options, true, wire.Bounds{BlockSize: 1468, Window: 64, Size: -1})
							first := wire.AppendAck(nil, 0)
							if len(answer) > 0 {
								first = wire.AppendOACK(nil, answer)
							}
							w := NewReceiver(Receiving{
								Link: n.server, To: &got, Commit: got.commit, Terms: terms, First: first,
								Idle: 30 * time.Second, Limit: 1 << 20, Heard: nothing, Stats: &stats,
							})
							err = w.Run(t.Context())
							if err == nil {
								for range 20 { // the client may need the last ACK more than once
									w.Dally()
								}
							}
							served <- err
						}()
						err := tftpclient.Put(simWire{n.client}, data, options, nil)
						if serr := <-served; err != nil || serr != nil {
							t.Fatalf("client %v, server %v, %+v", err, serr, stats)
						}
						if !got.committed || !bytes.Equal(got.Bytes(), data) {
							t.Errorf("%d bytes arrived, %v", got.Len(), got.committed)
						}
						if stats.Bytes != int64(size) || !stats.Confirmed {
							t.Errorf("%+v", stats)
						}
					})
				})
			}
		}
	}
}

func TestFromNetascii(t *testing.T) {
	for size := range 40 {
		data := tftpclient.ASCIIBytes(1000 + size)
		encoded := tftpclient.ToNetascii(data)
		if size%2 == 1 { // a file that ends in a bare CR, which no netascii does
			data, encoded = append(data, '\r'), append(encoded, '\r')
		}
		for _, step := range []int{1, 2, 7, 512} {
			var out bytes.Buffer
			f := &fromNetascii{w: &out}
			for rest := encoded; len(rest) > 0; {
				n := min(step, len(rest))
				if m, err := f.Write(rest[:n]); err != nil || m != n {
					t.Fatal(m, err)
				}
				rest = rest[n:]
			}
			if err := f.flush(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), data) {
				t.Fatalf("size %d, step %d: differs", len(data), step)
			}
		}
	}
}

// FuzzUpload feeds an upload any sequence of DATA datagrams: what is stored is the
// blocks in order, each once.
func FuzzUpload(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 2, 8, 0, 3, 1}, uint8(1))
	f.Add([]byte{0, 1, 8, 0, 3, 8, 0, 1, 8, 0, 2, 8, 0, 3, 0}, uint8(4))
	f.Add([]byte{0, 1, 9, 0xff, 0xff, 8}, uint8(64))
	f.Fuzz(func(t *testing.T, script []byte, window uint8) {
		var to kept
		l := &scriptLink{script: script}
		var stats Stats
		w := NewReceiver(Receiving{
			Link: l, To: &to, Commit: to.commit, Terms: wire.Terms{BlockSize: 8, Window: max(1, int(window))}, First: wire.AppendAck(nil, 0),
			Idle: time.Minute, Limit: 1 << 20, Heard: nothing, Stats: &stats,
		})
		err := w.Run(t.Context())
		got, stored := to.Bytes(), to.committed
		if stored != (err == nil) {
			t.Fatalf("stored %v, error %v", stored, err)
		}
		if !stored {
			return
		}
		for i, b := range got {
			if b != byte(i/8+1) {
				t.Fatalf("byte %d is of block %d: %v", i, b, got)
			}
		}
		if stored && stats.Bytes != int64(len(got)) {
			t.Fatalf("stored %d, counted %d", len(got), stats.Bytes)
		}
	})
}

// scriptLink is a link whose client sends DATA datagrams by a script of triples:
// block number, and payload length. A payload is the block's number, repeated.
type scriptLink struct {
	nullLink
	script []byte
}

func (l *scriptLink) Receive(buf []byte, _ time.Time) (int, error) {
	if len(l.script) < 3 {
		return 0, errors.New("the script is over")
	}
	block := int64(l.script[0])<<8 | int64(l.script[1])
	b := wire.AppendData(nil, block, bytes.Repeat([]byte{byte(block)}, int(l.script[2])%10))
	l.script = l.script[3:]
	return copy(buf, b), nil
}
