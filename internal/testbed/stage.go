package testbed

import (
	"regexp"
	"sync"
	"time"

	"castpoint/internal/lab"
)

// stages are what a machine's console says on its way, in order. A machine goes back
// to the first only.
var stages = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"firmware", regexp.MustCompile(`SeaBIOS \(version|BdsDxe: `)},
	{"network boot", regexp.MustCompile(`Start (PXE|HTTP Boot) over|iPXE \(http`)},
	{"iPXE", regexp.MustCompile(`iPXE \d|iPXE initialising`)},
	{"GRUB", regexp.MustCompile(`GNU GRUB|Welcome to GRUB`)},
	{"Windows boot manager", regexp.MustCompile(`Windows Boot Manager|Loading files\.\.\.`)},
	{"waiting for approval", regexp.MustCompile(`waiting for approval`)},
	{"loading Linux", regexp.MustCompile(`Loading the kernel|EFI stub: `)},
	{"Linux", regexp.MustCompile(`Linux version \d|boot environment, kernel`)},
	{"agent", regexp.MustCompile(`starting the agent`)},
	{"received", regexp.MustCompile(`"event":"done"|(^|\n)sha256 [0-9a-f]+, every block verified`)},
}

// stageOn and stageOff are a machine that has said nothing yet, and one that is off.
const (
	stageOn  = "on"
	stageOff = "off"
)

// progress follows a machine's console through its stages.
type progress struct {
	mu    sync.Mutex
	line  []byte // the text since the last match could have begun
	at    int    // index into stages; -1 before the first
	since time.Time
}

// lineLimit is more than any of the patterns spans.
const lineLimit = 512

func newProgress() *progress { return &progress{at: -1, since: time.Now()} }

// Write looks for the words of each stage.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = append(p.line, b...)
	text := lab.Clean(string(p.line))
	for i := len(stages) - 1; i >= 0; i-- {
		// Firmware that speaks again is a machine that has begun again.
		if i != 0 && i <= p.at || i == p.at {
			continue
		}
		if stages[i].pattern.MatchString(text) {
			p.at, p.since, p.line = i, time.Now(), nil
			return len(b), nil
		}
	}
	if len(p.line) > lineLimit {
		p.line = append(p.line[:0], p.line[len(p.line)-lineLimit:]...)
	}
	return len(b), nil
}

// restart is for a machine that begins anew.
func (p *progress) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line, p.at, p.since = nil, -1, time.Now()
}

// Stage is what was reached, and when.
func (p *progress) Stage() (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at < 0 {
		return stageOn, p.since
	}
	return stages[p.at].name, p.since
}
