package library

import (
	"context"
	"errors"
	"time"

	"castpoint/content"

	"go.uber.org/zap"
)

// lookEvery is how often a Schedule looks whether something is due, unless contents
// are due so often that a quarter of that is less.
const lookEvery = 10 * time.Minute

// Schedule validates every content that was not validated for the given time,
// one after the other, the longest unchecked first, at the lowest priority,
// until ctx ends or the library is closed. Damage is in the contents (Checked)
// and in the log.
func (l *Library) Schedule(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(max(min(lookEvery, every/4), time.Second))
	defer tick.Stop()
	tried := map[string]time.Time{}
	for {
		if err := l.validateDue(ctx, every, tried); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// validateDue validates what is due now. tried is when each was tried last: one
// that cannot be read is not tried again at once.
func (l *Library) validateDue(ctx context.Context, every time.Duration, tried map[string]time.Time) error {
	for {
		c, err := l.due(time.Now(), every, tried)
		if errors.Is(err, content.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil || c == nil {
			return err
		}
		began := time.Now()
		tried[c.ID] = began
		v, err := l.ValidateIdle(ctx, c.ID)
		switch {
		case ctx.Err() != nil, errors.Is(err, content.ErrClosed):
			return nil
		case errors.Is(err, content.ErrNotFound): // removed meanwhile
		case err != nil:
			l.log.Error("content cannot be validated", zap.String("content", c.ID), zap.Error(err))
		case v.Err() == nil:
			l.log.Info("content validated", zap.String("content", c.ID), zap.Duration("took", time.Since(began)))
		}
	}
}

// due is the content that has waited longest, when that is long enough; nil when
// none has.
func (l *Library) due(now time.Time, every time.Duration, tried map[string]time.Time) (*content.Content, error) {
	list, err := l.List()
	if err != nil {
		return nil, err
	}
	var oldest *content.Content
	var since time.Time
	for _, c := range list {
		last := c.Created // everything was hashed then
		switch {
		case c.Checked != nil:
			last = c.Checked.Time
		case c.Revision > 1:
			last = c.Updated
		}
		if last.After(now) {
			// The clock was put back since. Nobody knows how long ago it was, and it may
			// have been years ahead.
			last = time.Time{}
		}
		if t := tried[c.ID]; t.After(last) {
			last = t
		}
		if now.Sub(last) >= every && (oldest == nil || last.Before(since)) {
			oldest, since = c, last
		}
	}
	return oldest, nil
}
