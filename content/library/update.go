package library

import (
	"context"
	"fmt"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"

	"go.uber.org/zap"
)

// Update replaces the files of a content by those of req, under the same ID.
// Everybody sees the old revision until the new one is complete; then the old
// revision's objects go, except those that other contents or the new revision
// use. Updating with the same files repairs damaged objects.
//
// What req leaves empty stays as it was: name, comment, programs and
// distribution; the kind cannot change. Files that are attached stay attached.
// Version and index are taken from the new files when req
// does not give them.
//
// Errors: those of Add, and ErrNotFound, ErrAmbiguous.
func (l *Library) Update(ctx context.Context, idOrName string, req content.AddRequest) (*content.Content, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	old, err := l.Get(idOrName)
	if err != nil {
		return nil, err
	}
	if req.Kind == "" {
		req.Kind = old.Kind
	}
	if req.Kind != old.Kind {
		return nil, fmt.Errorf("update %s: %w kind %s: it is of kind %s", old.ID, content.ErrInvalid, req.Kind, old.Kind)
	}
	if req.Name == "" {
		req.Name = old.Name
	}
	c, sources, err := l.inspect(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", old.ID, err)
	}
	c.ID = old.ID
	if err := l.update(ctx, c, sources, req); err != nil {
		return nil, fmt.Errorf("update %s: %w", old.ID, err)
	}
	return c.Clone(), nil
}

// update stores the sources and puts c in the place of the content with its ID.
func (l *Library) update(ctx context.Context, c *content.Content, sources []inspect.Source, req content.AddRequest) error {
	l.index.Lock()
	key, err := l.checkName(c)
	if err != nil {
		l.index.Unlock()
		return err
	}
	release := l.take(key)
	l.index.Unlock()
	defer release()
	a := l.objects.NewAddition(sources, req.HardLink, req.Progress)
	defer l.end(a)
	if err := l.storeAll(ctx, a, c, sources); err != nil {
		return err
	}
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	l.index.RLock()
	old := l.contents[c.ID] // it may have been changed, or removed, meanwhile
	l.index.RUnlock()
	if old == nil {
		return fmt.Errorf("content %q: %w: it was removed meanwhile", c.ID, content.ErrNotFound)
	}
	if req.Comment == "" {
		c.Comment = old.Comment
	}
	if c.Language == "" {
		c.Language = old.Language
	}
	if req.Programs == nil {
		c.Programs = old.Programs
	}
	if req.Distribution == (content.Distribution{}) {
		c.Distribution = old.Distribution
	}
	c.Files = append(c.Files, old.Attached()...)
	c.WinPE = old.WinPE
	c.Revision = old.Revision + 1
	c.Created = old.Created
	c.Updated = time.Now().UTC().Truncate(time.Second)
	gone := old.Digests()
	for _, d := range gone {
		if err := l.objects.MarkPending(d); err != nil {
			return err
		}
	}
	err = l.commit(c)
	l.objects.Settle(gone, l.references())
	if err != nil {
		return err
	}
	l.log.Info("content updated", zap.String("content", c.ID), zap.Int("revision", c.Revision), zap.Int64("bytes", a.Total()))
	return nil
}
