package access

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"castpoint/internal/store"
)

// auditKeep is how many entries of the audit log are kept, auditTrim how often
// the oldest are deleted.
const (
	auditKeep = 200_000
	auditTrim = 1000
	auditText = 1000 // bytes of a text in an entry: strangers may have written it
)

// Entry is one thing that somebody changed, or tried to.
type Entry struct {
	ID     int64     `json:"id"` // rises with every entry
	Time   time.Time `json:"time"`
	Who    string    `json:"who"`
	How    string    `json:"how"`              // socket, token, password or oidc
	Remote string    `json:"remote,omitempty"` // address; left out for the unix socket
	Action string    `json:"action"`           // operation of the API, as in approve-device
	Target string    `json:"target,omitempty"` // path of what it was done to
	Detail string    `json:"detail,omitempty"`
	Status int       `json:"status"`          // of HTTP
	Error  string    `json:"error,omitempty"` // left out when it was done
}

// Record writes an entry of the audit log. A change is done when it is called, so
// an entry that cannot be written is logged as an error.
func (a *Access) Record(ctx context.Context, e Entry) {
	for _, text := range []*string{&e.Target, &e.Detail, &e.Error} {
		if len(*text) > auditText {
			*text = strings.ToValidUTF8((*text)[:auditText], "") + "..."
		}
	}
	row := store.AuditEntry{
		Time: a.now().UTC(), Who: e.Who, How: e.How, Remote: e.Remote, Action: e.Action, Target: e.Target, Detail: e.Detail, Status: e.Status, Error: e.Error,
	}
	ctx = context.WithoutCancel(ctx) // the client may have gone
	if err := a.store.AddAudit(ctx, &row); err != nil {
		a.log.Error("audit entry not written", zap.String("by", e.Who), zap.String("action", e.Action), zap.String("target", e.Target), zap.Error(err))
		return
	}
	if row.ID%auditTrim == 0 {
		if err := a.store.TrimAudit(ctx, auditKeep); err != nil {
			a.log.Warn("audit log not trimmed", zap.Error(err))
		}
	}
}

// Audit is a page of the audit log, newest first: at most limit entries with
// numbers below before (0: the newest). next is before of the page behind it, 0
// when there is none.
func (a *Access) Audit(ctx context.Context, before int64, limit int) (list []Entry, next int64, err error) {
	rows, err := a.store.Audit(ctx, before, limit+1)
	if err != nil {
		return nil, 0, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].ID
	}
	list = make([]Entry, len(rows))
	for i, r := range rows {
		list[i] = Entry{ID: r.ID, Time: r.Time, Who: r.Who, How: r.How, Remote: r.Remote, Action: r.Action, Target: r.Target, Detail: r.Detail, Status: r.Status, Error: r.Error}
	}
	return list, next, nil
}
