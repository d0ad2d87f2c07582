package access

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Failed logins before a name or an address has to wait, and how long: the wait
// doubles with each further failure.
const (
	freeFailures = 5
	firstWait    = 30 * time.Second
	longestWait  = 15 * time.Minute
	// lockNames bounds the table; when it is full it starts anew.
	lockNames = 4096
)

// lockout counts failed logins by user name and by address.
type lockout struct {
	now    func() time.Time
	mu     sync.Mutex
	failed map[string]*failures
}

type failures struct {
	count int
	until time.Time
}

// keys are what a login counts for. An IPv6 host has a whole /64.
func keys(user string, remote netip.Addr) []string {
	a := remote.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return []string{"user " + strings.ToLower(user), "address " + a.String()}
}

// locked is until when a login is refused; zero when it is not.
func (l *lockout) locked(user string, remote netip.Addr) (until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, k := range keys(user, remote) {
		if f := l.failed[k]; f != nil && f.until.After(now) && f.until.After(until) {
			until = f.until
		}
	}
	return until
}

// fail counts a failure.
func (l *lockout) fail(user string, remote netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || len(l.failed) >= lockNames {
		l.failed = make(map[string]*failures)
	}
	for _, k := range keys(user, remote) {
		f := l.failed[k]
		if f == nil {
			f = &failures{}
			l.failed[k] = f
		}
		if f.count++; f.count >= freeFailures {
			wait := min(firstWait<<min(f.count-freeFailures, 10), longestWait)
			f.until = l.now().Add(wait)
		}
	}
}

// succeed forgets the failures of a name. Those of the address stay: somebody who
// has one account may be guessing at another.
func (l *lockout) succeed(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failed, "user "+strings.ToLower(user))
}
