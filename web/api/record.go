package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"castpoint/agent/protocol"
)

type recordKey struct{}

// record collects what the audit log says of a request.
type record struct {
	mu     sync.Mutex
	notes  []string
	refuse *protocol.Problem
	status int // when it is not that of the answer
}

// recordOf is the record of a request; one that nobody reads outside of one.
func recordOf(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{}
}

// maxNote bounds what an entry of the audit log says, in bytes.
const maxNote = 500

// Note adds to the audit entry of a request what path and operation do not say. It
// must have no secrets.
func Note(ctx context.Context, format string, args ...any) {
	r := recordOf(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *record) fail(p *protocol.Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse, r.status = p, p.Status
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return shorten(strings.Join(r.notes, "; "))
}

func (r *record) problem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil {
		return ""
	}
	return shorten(r.refuse.Detail)
}

func shorten(s string) string {
	if len(s) <= maxNote {
		return s
	}
	return strings.ToValidUTF8(s[:maxNote], "") + "..."
}

// done notes the status of success, 0 for the usual one. That of the answer may be
// another: a client that does not wait for it has still changed something.
func (r *record) done(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status = status; status == 0 {
		r.status = http.StatusOK
	}
}

// ended is the status that was noted, 0 for none.
func (r *record) ended() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}
