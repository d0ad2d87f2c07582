package contents

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/web/api"
)

// DirDownloads is the folder in the data folder for files on their way into the
// library.
const DirDownloads = "downloads"

// source is where the files of a new content or revision are: on this host, or
// behind a URL, from where they are fetched first. done takes the fetched file
// away, or leaves it for the next try when kept is set.
func (s *operations) source(ctx context.Context, req *AddContent, progress func(done, total int64)) (done func(kept bool), err error) {
	if !fetch.IsURL(req.Path) {
		return func(bool) {}, nil
	}
	// Two of one URL would write the same file.
	s.mu.Lock()
	busy := s.fetching[req.Path]
	if !busy {
		s.fetching[req.Path] = true
	}
	s.mu.Unlock()
	if busy {
		return nil, api.Refusal(http.StatusConflict, protocol.CodeRefused, "wait for it", "%s is being fetched already", req.Path)
	}
	release := func() {
		s.mu.Lock()
		delete(s.fetching, req.Path)
		s.mu.Unlock()
	}
	res, err := fetch.Get(ctx, fetch.Request{
		URL: req.Path, Dir: filepath.Join(s.Data, DirDownloads), SHA256: req.SHA256, Rate: req.FetchRate / 8, Progress: progress,
		Room: s.Library.HasRoom, // of the data folder, which the library is in
	})
	if err != nil {
		release()
		switch {
		case errors.Is(err, content.ErrNoSpace):
			return nil, api.ContentProblem(err)
		case errors.Is(err, fetch.ErrURL):
			return nil, api.Refusal(http.StatusBadRequest, "", "", "%v", err)
		case errors.Is(err, fetch.ErrChecksum), errors.Is(err, fetch.ErrServer):
			return nil, api.Refusal(http.StatusBadGateway, "", "", "%v", err)
		}
		if _, ok := errors.AsType[*url.Error](err); ok && ctx.Err() == nil {
			return nil, api.Refusal(http.StatusBadGateway, "", "see that the server's host can reach it; what has come is kept, and the next try goes on from there", "%v", err)
		}
		return nil, err
	}
	if req.Source == "" {
		req.Source = fetch.WithoutPassword(req.Path)
	}
	req.Path, req.HardLink = res.Path, true // nobody else writes to it, and it goes afterwards
	return func(kept bool) {
		if !kept {
			_ = res.Remove() // what is left is used again, or replaced, by the next fetch
		}
		release()
	}, nil
}

// add makes or replaces a content out of a request; id is "" for a new one.
func (s *operations) add(ctx context.Context, id string, req AddContent, progress func(done, total int64)) (*content.Content, error) {
	request := func() content.AddRequest {
		return content.AddRequest{
			Kind: req.Kind, Path: req.Path, Initrd: req.Initrd, Loaders: req.Loaders,
			Name: req.Name, Version: req.Version, Comment: req.Comment, Index: req.Index, Arch: req.Arch,
			Source: req.Source, Language: req.Language, Programs: req.Programs,
			Distribution: req.Distribution, HardLink: req.HardLink, Progress: progress,
		}
	}
	if id == "" {
		if add := request(); add.Check() != nil {
			return nil, api.ContentProblem(add.Check()) // before something large is fetched for it
		}
	}
	from := req.Path
	done, err := s.source(ctx, &req, progress)
	if err != nil {
		return nil, err
	}
	add := request()
	var ct *content.Content
	if id == "" {
		ct, err = s.Library.Add(ctx, add)
	} else {
		ct, err = s.Library.Update(ctx, id, add)
	}
	// A file that is wrong is wrong tomorrow; one that found no room is not.
	done(err != nil && !errors.Is(err, content.ErrFile) && !errors.Is(err, content.ErrExists))
	if fetch.IsURL(from) && errors.Is(err, content.ErrFile) {
		p := *api.AsProblem(api.ContentProblem(err))
		p.Detail = strings.ReplaceAll(p.Detail, req.Path, fetch.WithoutPassword(from)) // where it was kept means nothing to anybody
		return nil, &p
	}
	return ct, api.ContentProblem(err)
}

func (s *operations) updateContent(_ context.Context, in *struct {
	ContentPath
	Body AddContent
}) (contentWork, error) {
	if err := in.Body.check(); err != nil {
		return nil, err
	}
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, progress api.Progress) (*content.Content, error) {
		return s.add(ctx, ct.ID, in.Body, progress)
	}, nil
}

// check refuses paths that mean something else in this process.
func (a *AddContent) check() error {
	for _, p := range []string{a.Path, a.Initrd} {
		if p != "" && !filepath.IsAbs(p) && (p != a.Path || !fetch.IsURL(p)) {
			return api.Refusal(http.StatusBadRequest, "", "", "path %q: want an absolute one, or a URL", p)
		}
	}
	if !fetch.IsURL(a.Path) && (a.SHA256 != "" || a.FetchRate != 0) {
		return api.Refusal(http.StatusBadRequest, "", "", "a SHA-256 and a rate are for URLs")
	}
	if b, err := hex.DecodeString(a.SHA256); a.SHA256 != "" && (err != nil || len(b) != sha256.Size) {
		return api.Refusal(http.StatusBadRequest, "", "", "SHA-256 %q: want 64 hexadecimal digits", a.SHA256)
	}
	if a.FetchRate < 0 {
		return api.Refusal(http.StatusBadRequest, "", "", "the rate cannot be negative")
	}
	return nil
}

func (s *operations) collectGarbage(ctx context.Context, _ *struct{}) (*Garbage, error) {
	g, err := s.Library.CollectGarbage(ctx)
	if err != nil {
		return nil, api.ContentProblem(err)
	}
	api.Note(ctx, "%d objects", g.Objects)
	return &Garbage{g.Objects, g.Bytes}, nil
}

// Garbage is what was deleted.
type Garbage struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}
