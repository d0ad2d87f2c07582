package library

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/content/object"

	"go.uber.org/zap"
)

// Add puts a content into the library. It is there whole when Add returns nil,
// and not at all otherwise: on an error nothing is left behind; after a crash,
// the end of ctx or a source that could not be read the copies of large files
// stay, and the next Add or Update with these files goes on from there. The files are checked before anything is copied, read once, and
// may be removed afterwards.
//
// Errors: ErrInvalid for a request or files that cannot be used (with
// wim.ErrNotWIM, wim.ErrTruncated, wim.ErrCorrupt where they apply), ErrExists
// when there is a content of that kind, name and version, ErrNoSpace, ErrClosed.
func (l *Library) Add(ctx context.Context, req content.AddRequest) (*content.Content, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, sources, err := l.inspect(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", req.Path, err)
	}
	if err := l.add(ctx, c, sources, req); err != nil {
		return nil, fmt.Errorf("add %s: %w", req.Path, err)
	}
	return c.Clone(), nil
}

// add stores the sources of c and makes it a content.
func (l *Library) add(ctx context.Context, c *content.Content, sources []inspect.Source, req content.AddRequest) error {
	release, err := l.reserveName(c, slug(c.Name, c.Kind))
	if err != nil {
		return err
	}
	defer release()
	a := l.objects.NewAddition(sources, req.HardLink, req.Progress)
	defer l.end(a)
	if err := l.storeAll(ctx, a, c, sources); err != nil {
		return err
	}
	c.Revision = 1
	c.Created = time.Now().UTC().Truncate(time.Second)
	c.Updated = c.Created
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := l.commit(c); err != nil {
		l.retract(c.ID)
		return err
	}
	l.log.Info("content added", zap.String("content", c.ID), zap.String("kind", string(c.Kind)),
		zap.String("name", c.Name), zap.Int("files", len(c.Files)), zap.Int64("bytes", a.Total()))
	return nil
}

// storeAll stores every source as a file of c, and then makes objects of them.
func (l *Library) storeAll(ctx context.Context, a *object.Addition, c *content.Content, sources []inspect.Source) error {
	c.Files = make([]content.File, 0, len(sources))
	wims, good := 0, 0
	for _, s := range sources {
		m, checked, err := a.Take(ctx, s)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, content.File{Role: s.Role, Name: s.Name, Size: m.Size, Digest: m.Digest})
		if s.WIM {
			wims++
		}
		if checked {
			good++
		}
	}
	c.Integrity = wims > 0 && good == wims
	placed, err := a.Place()
	l.mended(placed...)
	return err
}

// end ends an addition: objects that no content refers to by then are deleted.
func (l *Library) end(a *object.Addition) {
	made := a.End()
	l.disk.Lock()
	defer l.disk.Unlock()
	l.objects.Settle(made, l.references())
}

// reserveName gives c its ID, base or one made from it, and keeps it, and c's
// name, from being given to another until release is called. Errors: ErrExists.
func (l *Library) reserveName(c *content.Content, base string) (release func(), err error) {
	l.index.Lock()
	defer l.index.Unlock()
	key, err := l.checkName(c)
	if err != nil {
		return nil, err
	}
	c.ID = freeID(base, func(id string) bool {
		_, err := os.Lstat(l.contentPath(id)) // also those that could not be read
		return l.contents[id] != nil || l.taken["id "+id] || !errors.Is(err, fs.ErrNotExist)
	})
	return l.take(key, "id "+c.ID), nil
}

// checkName returns c's key when no other content has it or is being given it.
// index must be held.
func (l *Library) checkName(c *content.Content) (key string, err error) {
	key = nameKey(c)
	for _, old := range l.contents {
		if old.ID != c.ID && nameKey(old) == key {
			return "", fmt.Errorf("%s %q version %q %w as %s: give another version or name, or update that one",
				c.Kind, c.Name, c.Version, content.ErrExists, old.ID)
		}
	}
	if l.taken[key] {
		return "", fmt.Errorf("%s %q version %q %w: it is being added now", c.Kind, c.Name, c.Version, content.ErrExists)
	}
	return key, nil
}

// take marks keys as taken until release is called. index must be held now and
// must not be held then.
func (l *Library) take(keys ...string) (release func()) {
	for _, k := range keys {
		l.taken[k] = true
	}
	return func() {
		l.index.Lock()
		defer l.index.Unlock()
		for _, k := range keys {
			delete(l.taken, k)
		}
	}
}

// nameKey is what two contents must not have in common.
func nameKey(c *content.Content) string {
	return "name " + string(c.Kind) + "\x00" + strings.ToLower(c.Name) + "\x00" + strings.ToLower(c.Version)
}

// commit writes c's file, which is the moment at which c exists, and puts it
// into the index. disk must be held; c must not be changed afterwards.
func (l *Library) commit(c *content.Content) error {
	if err := c.Check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(contentFile{Format: contentFormat, Content: *c}, "", "\t")
	if err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	if err := l.faults.At("before content"); err != nil {
		return err
	}
	err = l.objects.ReplaceFile(l.contentPath(c.ID), append(b, '\n'), 0o640)
	if err != nil && !errors.Is(err, object.ErrUnsynced) {
		return fmt.Errorf("write content: %w", err)
	}
	l.index.Lock()
	l.contents[c.ID] = c.Clone()
	l.index.Unlock()
	if err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	return l.faults.At("content")
}

// retract takes back a new content whose commit failed half way. disk must be
// held.
func (l *Library) retract(id string) {
	l.index.Lock()
	defer l.index.Unlock()
	if l.contents[id] == nil {
		return
	}
	if err := os.Remove(l.contentPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Error("content whose addition failed cannot be removed", zap.String("content", id), zap.Error(err))
		return // it stays in the index, so that its objects stay, too
	}
	delete(l.contents, id)
}

// SetRequest says what to change; nil leaves a field as it is.
type SetRequest struct {
	Name         *string
	Version      *string
	Comment      *string
	Source       *string
	Language     *string
	Arch         *string
	Index        *int
	Programs     *[]content.Program
	Distribution *content.Distribution
	WinPE        *content.WinPE
}

// Set changes the settings of a content. Errors: ErrNotFound, ErrAmbiguous,
// ErrInvalid, ErrExists when another content has the new name and version.
func (l *Library) Set(idOrName string, req SetRequest) (*content.Content, error) {
	_, done, err := l.begin(context.Background())
	if err != nil {
		return nil, err
	}
	defer done()
	l.disk.Lock()
	defer l.disk.Unlock()
	c, err := l.Get(idOrName)
	if err != nil {
		return nil, err
	}
	for _, t := range []struct{ from, to *string }{
		{req.Name, &c.Name}, {req.Version, &c.Version}, {req.Comment, &c.Comment},
		{req.Source, &c.Source}, {req.Language, &c.Language}, {req.Arch, &c.Arch},
	} {
		if t.from != nil {
			*t.to = strings.TrimSpace(*t.from)
		}
	}
	if req.Index != nil {
		if *req.Index != 0 && len(c.Images) == 0 {
			return nil, fmt.Errorf("set %s: %w index: it is not a WIM", c.ID, content.ErrInvalid)
		}
		c.Index = *req.Index
	}
	if req.Source != nil {
		c.SourceInitrd = ""
	}
	if req.Programs != nil {
		c.Programs = content.WithCodes(*req.Programs)
	}
	if req.Distribution != nil {
		c.Distribution = *req.Distribution
	}
	if req.WinPE != nil {
		c.WinPE = *req.WinPE
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("set %s: %w", c.ID, err)
	}
	l.index.Lock()
	key, err := l.checkName(c)
	if err != nil {
		l.index.Unlock()
		return nil, fmt.Errorf("set %s: %w", c.ID, err)
	}
	release := l.take(key)
	l.index.Unlock()
	defer release()
	c.Updated = time.Now().UTC().Truncate(time.Second)
	if err := l.commit(c); err != nil {
		return nil, fmt.Errorf("set %s: %w", c.ID, err)
	}
	return c.Clone(), nil
}

// Remove deletes a content, and the objects that no other content refers to. An
// object that somebody has open stays readable until it is closed. Errors:
// ErrNotFound, ErrAmbiguous.
func (l *Library) Remove(idOrName string) error {
	_, done, err := l.begin(context.Background())
	if err != nil {
		return err
	}
	defer done()
	l.disk.Lock()
	defer l.disk.Unlock()
	c, err := l.Get(idOrName)
	if err != nil {
		return err
	}
	digests := c.Digests()
	for _, d := range digests {
		if err := l.objects.MarkPending(d); err != nil && !errors.Is(err, content.ErrNoSpace) { // a full disk must not prevent removal
			return fmt.Errorf("remove %s: %w", c.ID, err)
		}
	}
	if err := l.faults.At("before remove"); err != nil {
		return err
	}
	err = object.RemoveFile(l.contentPath(c.ID))
	if err != nil && !errors.Is(err, object.ErrUnsynced) {
		return fmt.Errorf("remove %s: %w", c.ID, err)
	}
	l.index.Lock()
	delete(l.contents, c.ID)
	l.index.Unlock()
	if err != nil {
		return fmt.Errorf("remove %s: %w", c.ID, err)
	}
	if err := l.faults.At("removed"); err != nil {
		return err
	}
	l.objects.Settle(digests, l.references())
	l.log.Info("content removed", zap.String("content", c.ID), zap.String("name", c.Name))
	return nil
}

// inspect asks for the trial of the library, if there is one, and inspects.
func (l *Library) inspect(ctx context.Context, req content.AddRequest) (*content.Content, []inspect.Source, error) {
	if err := req.Check(); err != nil {
		return nil, nil, err
	}
	if l.trial != nil {
		if err := l.trial(ctx, req); err != nil {
			return nil, nil, err
		}
	}
	return inspect.Sources(ctx, req)
}
