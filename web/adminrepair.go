package web

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

func (s *Server) repairContent(w http.ResponseWriter, r *http.Request) error {
	var req RepairContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	from, done, err := s.originals(ct, req)
	if err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (any, error) {
		from.progress = progress
		v, err := s.library.Repair(r.Context(), ct.ID, from, progress)
		done(err)
		switch {
		case errors.Is(err, content.ErrOther):
			return nil, problem(http.StatusConflict, protocol.CodeRefused, "castpoint content update takes other files", "%v", err)
		case err != nil:
			return nil, contentProblem(err)
		case v.Err() != nil:
			return nil, contentProblem(fmt.Errorf("after the repair: %w", v.Err()))
		}
		return v, nil
	})
	return nil
}

// originals finds out how the originals of a content are opened, which happens
// when something is damaged. done is called at the end.
func (s *Server) originals(ct *content.Content, req RepairContent) (o *lazyOriginals, done func(error), err error) {
	if req.From != "" {
		if req.Path != "" || req.Initrd != "" {
			return nil, nil, problem(http.StatusBadRequest, "", "", "say either a path or another server")
		}
		p, err := newPeer(req.From, req.Pin, req.Token)
		if err != nil {
			return nil, nil, err
		}
		return &lazyOriginals{open: func(context.Context, func(done, total int64)) (content.Originals, error) { return p, nil }}, func(error) { p.close() }, nil
	}
	add := AddContent{Path: req.Path, Initrd: req.Initrd, FetchRate: req.FetchRate}
	if add.Path == "" {
		if ct.Source == "" || !fetch.IsURL(ct.Source) && !filepath.IsAbs(ct.Source) {
			return nil, nil, problem(http.StatusBadRequest, "", "say where it is now", "where content %s came from is not known", ct.ID)
		}
		add.Path, add.Initrd = ct.Source, ct.SourceInitrd
	}
	if err := add.check(); err != nil {
		return nil, nil, err
	}
	fetched := func(bool) {}
	o = &lazyOriginals{open: func(ctx context.Context, progress func(done, total int64)) (content.Originals, error) {
		var err error
		if fetched, err = s.source(ctx, &add, progress); err != nil {
			fetched = func(bool) {}
			return nil, err
		}
		return content.OriginalsAt(ct, add.Path, add.Initrd)
	}}
	return o, func(err error) {
		fetched(err != nil && !errors.Is(err, content.ErrOther) && !errors.Is(err, content.ErrFile))
	}, nil
}

// lazyOriginals finds the originals when the first is opened.
type lazyOriginals struct {
	progress func(done, total int64) // of a download
	open     func(ctx context.Context, progress func(done, total int64)) (content.Originals, error)
	once     sync.Once
	found    content.Originals
	err      error
}

func (l *lazyOriginals) Open(ctx context.Context, f content.File) (content.Original, error) {
	l.once.Do(func() { l.found, l.err = l.open(ctx, l.progress) })
	if l.err != nil {
		return nil, l.err
	}
	return l.found.Open(ctx, f)
}
