package contents

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/content/library"
	"castpoint/web/api"
)

// RepairContent says where the files that a content was made of are: on this
// host or behind a URL, or on another castpoint server. Without both it is where
// they came from.
type RepairContent struct {
	Path      string `json:"path,omitempty"`   // absolute, or a URL
	Initrd    string `json:"initrd,omitempty"` // absolute
	FetchRate int64  `json:"fetch_rate,omitempty"`

	From  string `json:"from,omitempty"` // join URL of another server
	Pin   string `json:"pin,omitempty"`  // of its certificate
	Token string `json:"token,omitempty"`
}

func (s *operations) repairContent(_ context.Context, in *struct {
	ContentPath
	Body RepairContent
}) (func(context.Context, api.Progress) (*library.Validation, error), error) {
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return nil, err
	}
	from, done, err := s.originals(ct, in.Body)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, progress api.Progress) (*library.Validation, error) {
		from.progress = progress
		v, err := s.Library.Repair(ctx, ct.ID, from, progress)
		done(err)
		if from.used {
			for _, f := range ct.Files {
				s.Join.Drop(f.Digest)
			}
		}
		switch {
		case errors.Is(err, library.ErrOther):
			return nil, api.Refusal(http.StatusConflict, protocol.CodeRefused, "castpoint content update takes other files", "%v", err)
		case err != nil:
			return nil, api.ContentProblem(err)
		case v.Err() != nil:
			return nil, api.ContentProblem(fmt.Errorf("after the repair: %w", v.Err()))
		}
		return v, nil
	}, nil
}

// originals finds out how the originals of a content are opened, which happens
// when something is damaged. done is called at the end.
func (s *operations) originals(ct *content.Content, req RepairContent) (o *lazyOriginals, done func(error), err error) {
	if req.From != "" {
		if req.Path != "" || req.Initrd != "" {
			return nil, nil, api.Refusal(http.StatusBadRequest, "", "", "say either a path or another server")
		}
		p, err := newPeer(req.From, req.Pin, req.Token)
		if err != nil {
			return nil, nil, err
		}
		return &lazyOriginals{open: func(context.Context, func(done, total int64)) (library.Originals, error) { return p, nil }}, func(error) { p.close() }, nil
	}
	add := AddContent{Path: req.Path, Initrd: req.Initrd, FetchRate: req.FetchRate}
	if add.Path == "" {
		if ct.Source == "" || !fetch.IsURL(ct.Source) && !filepath.IsAbs(ct.Source) {
			return nil, nil, api.Refusal(http.StatusBadRequest, "", "say where it is now", "where content %s came from is not known", ct.ID)
		}
		add.Path, add.Initrd = ct.Source, ct.SourceInitrd
	}
	if err := add.check(); err != nil {
		return nil, nil, err
	}
	fetched := func(bool) {}
	o = &lazyOriginals{open: func(ctx context.Context, progress func(done, total int64)) (library.Originals, error) {
		var err error
		if fetched, err = s.source(ctx, &add, progress); err != nil {
			fetched = func(bool) {}
			return nil, err
		}
		return library.OriginalsAt(ct, add.Path, add.Initrd)
	}}
	return o, func(err error) {
		fetched(err != nil && !errors.Is(err, library.ErrOther) && !errors.Is(err, content.ErrFile))
	}, nil
}

// lazyOriginals finds the originals when the first is opened.
type lazyOriginals struct {
	progress func(done, total int64) // of a download
	open     func(ctx context.Context, progress func(done, total int64)) (library.Originals, error)
	once     sync.Once
	found    library.Originals
	err      error
	used     bool
}

func (l *lazyOriginals) Open(ctx context.Context, f content.File) (library.Original, error) {
	l.used = true // by Repair, for one file after the other
	l.once.Do(func() { l.found, l.err = l.open(ctx, l.progress) })
	if l.err != nil {
		return nil, l.err
	}
	return l.found.Open(ctx, f)
}
