package library

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"

	"go.uber.org/zap"
)

// DriversFolder is where in a boot image attached drivers lie: castpoint's
// script in Windows PE loads what is below.
const DriversFolder = "castpoint/drivers"

// maxAttached bounds the files that a boot image has attached: an overlay can
// add some more, and castpoint needs some itself.
const maxAttached = 60_000

// AttachRequest says what to attach to a boot image.
type AttachRequest struct {
	// Drivers are folders of drivers, or driver packages of the library, by ID
	// or name. Those of a package are what it holds now; they stay when it
	// changes.
	Drivers []string
	// Files are single files: by path within the image, with "/", the path
	// where each is read.
	Files map[string]string

	Progress func(done, total int64) // as in AddRequest
}

// Attach gives a Windows boot image more files, without changing the image:
// machines get it with them added. What has the path of an attached file takes
// its place. Like Add it happens whole or not at all.
//
// Errors: those of Add, and ErrNotFound, ErrAmbiguous.
func (l *Library) Attach(ctx context.Context, idOrName string, req AttachRequest) (*content.Content, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := l.Get(idOrName)
	if err != nil {
		return nil, err
	}
	if _, ok := c.File(content.RoleImage); !ok || c.Kind != content.KindBootImage {
		return nil, fmt.Errorf("attach to %s: %w content: it is not a Windows boot image", c.ID, content.ErrInvalid)
	}
	shared, sources, err := l.inspectAttached(ctx, req)
	if err == nil {
		c, err = l.attach(ctx, c.ID, shared, sources, req)
	}
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", idOrName, err)
	}
	return c, nil
}

// inspectAttached finds what is asked for: files that the library has already,
// and files to be added.
func (l *Library) inspectAttached(ctx context.Context, req AttachRequest) (shared []content.File, sources []inspect.Source, err error) {
	for _, from := range req.Drivers {
		info, err := os.Stat(from)
		if err == nil && info.IsDir() && strings.ContainsAny(from, `/\`) {
			// A name without a slash is a content, whatever lies in the working folder.
			folder := &content.Content{Kind: content.KindDriverPackage}
			list, err := inspect.Folder(ctx, from, folder)
			if err != nil {
				return nil, nil, err
			}
			for _, s := range list {
				s.Role, s.Name = content.RoleAttached, path.Join(DriversFolder, slug(folder.Name, content.KindDriverPackage), s.Name)
				sources = append(sources, s)
			}
			continue
		}
		pkg, err := l.Get(from)
		if err != nil {
			return nil, nil, fmt.Errorf("drivers: %w; a folder is named with a slash, as in ./drivers", err)
		}
		if pkg.Kind != content.KindDriverPackage {
			return nil, nil, fmt.Errorf("%w drivers: content %s is of kind %s, not %s", content.ErrInvalid, pkg.ID, pkg.Kind, content.KindDriverPackage)
		}
		for _, f := range pkg.Files {
			f.Role, f.Name = content.RoleAttached, path.Join(DriversFolder, pkg.ID, f.Name)
			shared = append(shared, f)
		}
	}
	for as, from := range req.Files {
		f, info, err := inspect.OpenFile(from)
		if err != nil {
			return nil, nil, err
		}
		_ = f.Close()
		name := strings.Trim(strings.ReplaceAll(as, `\`, "/"), "/")
		if err := content.CheckPath(name); err != nil {
			return nil, nil, fmt.Errorf("%w path in the image: %v", content.ErrInvalid, err)
		}
		s := inspect.SourceOf(content.RoleAttached, f.Name(), info)
		s.Name = name
		sources = append(sources, s)
	}
	if len(shared)+len(sources) == 0 {
		return nil, nil, fmt.Errorf("%w request: nothing to attach", content.ErrInvalid)
	}
	slices.SortFunc(sources, func(a, b inspect.Source) int { return cmp.Compare(a.Name, b.Name) })
	return shared, sources, nil
}

// attach stores the sources and adds all to the content.
func (l *Library) attach(ctx context.Context, id string, shared []content.File, sources []inspect.Source, req AttachRequest) (*content.Content, error) {
	a := l.objects.NewAddition(sources, false, req.Progress)
	defer l.end(a)
	added := &content.Content{}
	if err := l.storeAll(ctx, a, added, sources); err != nil {
		return nil, err
	}
	return l.changeFiles(ctx, id, func(c *content.Content) error {
		for _, f := range shared {
			// The package may have gone meanwhile, and its objects with it.
			if _, err := l.objects.Size(f.Digest); err != nil {
				return fmt.Errorf("drivers: file %s: %w: the driver package was changed meanwhile: attach it again", f.Name, content.ErrNotFound)
			}
		}
		c.Detach(func(old content.File) bool {
			return slices.ContainsFunc(added.Files, old.SamePlace) || slices.ContainsFunc(shared, old.SamePlace)
		})
		c.Files = append(append(c.Files, shared...), added.Files...)
		if n := len(c.Attached()); n > maxAttached {
			return fmt.Errorf("%w request: %d files would be attached, at most %d can be", content.ErrInvalid, n, maxAttached)
		}
		return nil
	})
}

// Detach takes attached files away: those with the given paths, and those in
// the folders that they name. A name without "/" is also that of a folder of
// drivers. Errors: ErrNotFound when nothing is attached there; ErrAmbiguous.
func (l *Library) Detach(ctx context.Context, idOrName string, names []string) (*content.Content, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := l.Get(idOrName)
	if err != nil {
		return nil, err
	}
	return l.changeFiles(ctx, c.ID, func(c *content.Content) error {
		for _, name := range names {
			clean := strings.ToLower(strings.Trim(strings.ReplaceAll(name, `\`, "/"), "/"))
			n := c.Detach(func(f content.File) bool {
				have := strings.ToLower(f.Name)
				return have == clean || strings.HasPrefix(have, clean+"/") || strings.HasPrefix(have, DriversFolder+"/"+clean+"/")
			})
			if n == 0 {
				return fmt.Errorf("detach from %s: nothing is attached as %q: %w", c.ID, name, content.ErrNotFound)
			}
		}
		return nil
	})
}

// changeFiles makes a new revision of a content with other files, whose objects
// are stored already.
func (l *Library) changeFiles(ctx context.Context, id string, change func(*content.Content) error) (*content.Content, error) {
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	c, err := l.Get(id)
	if err != nil {
		return nil, err
	}
	before := c.Digests()
	if err := change(c); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.Revision++
	c.Updated = time.Now().UTC().Truncate(time.Second)
	for _, d := range before {
		if err := l.objects.MarkPending(d); err != nil {
			return nil, err
		}
	}
	err = l.commit(c)
	l.objects.Settle(before, l.references())
	if err != nil {
		return nil, err
	}
	l.log.Info("content changed", zap.String("content", c.ID), zap.Int("revision", c.Revision), zap.Int("attached", len(c.Attached())))
	return c.Clone(), nil
}
