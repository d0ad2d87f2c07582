package library

import (
	"context"
	"fmt"

	"castpoint/content"
	"castpoint/content/object"
)

// references lists the objects that contents refer to. While a content file cannot be
// read the list is not complete: it may be the one that refers to an object.
func (l *Library) references() object.References {
	l.index.RLock()
	defer l.index.RUnlock()
	used := map[content.Digest]bool{}
	for _, c := range l.contents {
		for _, f := range c.Files {
			used[f.Digest] = true
		}
	}
	return object.References{Objects: used, Complete: l.allRead()}
}

// CollectGarbage deletes all objects and manifests that no content refers to,
// and the copies that interrupted additions have left.
// Remove and Open delete what they know of by themselves; this also finds what
// a power failure or somebody's hand left behind. Unfinished adds are not
// disturbed.
//
// Errors: ErrDamaged when a content file cannot be read, because the objects it
// refers to are then unknown.
func (l *Library) CollectGarbage(ctx context.Context) (object.Garbage, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return object.Garbage{}, err
	}
	defer done()
	l.disk.Lock()
	defer l.disk.Unlock()
	refs := l.references()
	if !refs.Complete {
		return object.Garbage{}, fmt.Errorf("collect garbage: %w: a content file cannot be read, so what it needs is unknown: see the list of problems", content.ErrDamaged)
	}
	g, err := l.objects.Collect(ctx, refs.Objects)
	if err != nil {
		return g, fmt.Errorf("collect garbage: %w", err)
	}
	return g, nil
}
