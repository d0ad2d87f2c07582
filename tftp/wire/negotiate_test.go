package wire

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNegotiate(t *testing.T) {
	plain := Terms{BlockSize: 512, Window: 1}
	for _, tt := range []struct {
		name    string
		options []Option
		write   bool
		b       Bounds
		terms   Terms
		answer  []Option
	}{
		{name: "nothing asked", terms: plain},
		{name: "size", options: []Option{{"tsize", "0"}}, terms: Terms{BlockSize: 512, Window: 1, Size: true},
			answer: []Option{{"tsize", "1000"}}},
		{name: "size unknown", options: []Option{{"tsize", "0"}}, b: Bounds{1468, 64, -1}, terms: plain},
		{name: "block size", options: []Option{{"blksize", "1456"}}, terms: Terms{BlockSize: 1456, Window: 1},
			answer: []Option{{"blksize", "1456"}}},
		{name: "block size above the path MTU", options: []Option{{"blksize", "8192"}},
			terms: Terms{BlockSize: 1468, Window: 1}, answer: []Option{{"blksize", "1468"}}},
		{name: "smallest block size", options: []Option{{"blksize", "8"}}, terms: Terms{BlockSize: 8, Window: 1},
			answer: []Option{{"blksize", "8"}}},
		{name: "block size too small", options: []Option{{"blksize", "7"}}, terms: plain},
		{name: "EDK2", options: []Option{{"tsize", "0"}, {"blksize", "1468"}, {"windowsize", "4"}},
			terms:  Terms{BlockSize: 1468, Window: 4, Size: true},
			answer: []Option{{"tsize", "1000"}, {"blksize", "1468"}, {"windowsize", "4"}}},
		{name: "Windows", options: bootManager(1456, 16),
			terms:  Terms{BlockSize: 1456, Window: 16, VarWindow: true, Size: true},
			answer: []Option{{"tsize", "1000"}, {"blksize", "1456"}, {"windowsize", "16"}, {"msftwindow", "27182"}}},
		{name: "msftwindow of another number", options: []Option{{"msftwindow", "1"}}, terms: plain},
		{name: "window above the limit", options: []Option{{"windowsize", "65535"}},
			terms: Terms{BlockSize: 512, Window: 64}, answer: []Option{{"windowsize", "64"}}},
		{name: "window 0", options: []Option{{"windowsize", "0"}}, terms: plain},
		{name: "timeout", options: []Option{{"timeout", "5"}},
			terms: Terms{BlockSize: 512, Window: 1, Timeout: 5 * time.Second}, answer: []Option{{"timeout", "5"}}},
		{name: "timeout out of range", options: []Option{{"timeout", "0"}, {"timeout", "256"}}, terms: plain},
		{name: "spelling and order are the client's", options: []Option{{"WindowSize", "2"}, {"BLKSIZE", "1024"}},
			terms:  Terms{BlockSize: 1024, Window: 2},
			answer: []Option{{"WindowSize", "2"}, {"BLKSIZE", "1024"}}},
		{name: "repeated", options: []Option{{"blksize", "1024"}, {"blksize", "512"}},
			terms: Terms{BlockSize: 1024, Window: 1}, answer: []Option{{"blksize", "1024"}}},
		{name: "unknown and nonsense", options: []Option{{"multicast", ""}, {"blksize", "x"}, {"windowsize", "-3"}, {"tsize", ""}}, terms: plain},
		{name: "beyond any number", options: []Option{{"blksize", "99999999999999999999"}}, terms: plain},
		{name: "upload", options: bootManager(1456, 16), write: true,
			terms:  Terms{BlockSize: 1456, Window: 16},
			answer: []Option{{"tsize", "0"}, {"blksize", "1456"}, {"windowsize", "16"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.b == (Bounds{}) {
				tt.b = Bounds{BlockSize: 1468, Window: 64, Size: 1000}
			}
			terms, answer := Negotiate(tt.options, tt.write, tt.b)
			if d := cmp.Diff(tt.terms, terms); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.answer, answer); d != "" {
				t.Error(d)
			}
		})
	}
}

// bootManager is what the Windows boot manager asks for, in its order.
func bootManager(blksize, window int) []Option {
	return []Option{
		{"tsize", "0"}, {"blksize", strconv.Itoa(blksize)},
		{"windowsize", strconv.Itoa(window)}, {"msftwindow", "31416"},
	}
}

// readRequest is an RRQ.
func readRequest(name, mode string, options ...Option) []byte {
	b := append([]byte{0, OpRRQ}, name...)
	b = append(b, 0)
	b = append(append(b, mode...), 0)
	return append(b, AppendOACK(nil, options)[2:]...)
}
