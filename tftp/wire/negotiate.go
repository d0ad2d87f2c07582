package wire

import (
	"strconv"
	"strings"
	"time"
)

// Numbers of Microsoft's variable window option: what the Windows boot manager
// asks for, and what a server that takes part answers.
const (
	msftWindowAsk    = "31416"
	msftWindowAnswer = "27182"
)

// MaxVarWindow is the largest window of msftwindow: it travels as one byte.
const MaxVarWindow = 255

// Terms are what client and server agreed on.
type Terms struct {
	BlockSize int           // payload bytes of each DATA but the last
	Window    int           // blocks per ACK (the first window, when VarWindow)
	VarWindow bool          // msftwindow: every ACK tells the next window
	Timeout   time.Duration // RFC 2349 timeout; 0 when not asked for
	Size      bool          // the client asked for tsize and was told
}

// Bounds are what the server grants one transfer.
type Bounds struct {
	BlockSize int   // largest block size
	Window    int   // largest window
	Size      int64 // answer to tsize; -1 when it cannot be told
}

// FindOption is the value of the first option of that name, whatever its case.
func FindOption(options []Option, name string) (string, bool) {
	for _, o := range options {
		if strings.EqualFold(o.Name, name) {
			return o.Value, true
		}
	}
	return "", false
}

// Negotiate answers the options of a request: what holds, and the options of the
// OACK in the order of the request, spelled as the client spelled them. An option
// that is unknown, repeated or has an impossible value is left out, as RFC 2347
// says, which makes its default hold. No options in the answer means no OACK.
func Negotiate(options []Option, write bool, b Bounds) (Terms, []Option) {
	t := Terms{BlockSize: DefaultBlockSize, Window: 1}
	var answer []Option
	seen := make(map[string]bool, len(options))
	for _, o := range options {
		name := strings.ToLower(o.Name)
		if seen[name] {
			continue
		}
		seen[name] = true
		n, err := strconv.ParseInt(o.Value, 10, 64)
		if err != nil || n < 0 {
			continue
		}
		value := ""
		switch name {
		case "blksize": // RFC 2348
			if n >= MinBlockSize {
				t.BlockSize = int(min(n, int64(b.BlockSize)))
				value = strconv.Itoa(t.BlockSize)
			}
		case "timeout": // RFC 2349: 1 to 255 s, accepted as it is or not at all
			if n >= 1 && n <= 255 {
				t.Timeout = time.Duration(n) * time.Second
				value = o.Value
			}
		case "tsize": // RFC 2349
			if write {
				value = o.Value
			} else if b.Size >= 0 {
				t.Size = true
				value = strconv.FormatInt(b.Size, 10)
			}
		case "windowsize": // RFC 7440
			if n >= 1 {
				t.Window = int(min(n, int64(b.Window)))
				value = strconv.Itoa(t.Window)
			}
		case "msftwindow":
			if o.Value == msftWindowAsk && !write {
				t.VarWindow = true
				value = msftWindowAnswer
			}
		}
		if value != "" {
			answer = append(answer, Option{o.Name, value})
		}
	}
	return t, answer
}
