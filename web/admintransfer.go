package web

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/fetch"
)

// dirDownloads is the folder in the data folder for files on their way into the
// library.
const dirDownloads = "downloads"

// source is where the files of a new content or revision are: on this host, or
// behind a URL, from where they are fetched first. done takes the fetched file
// away, or leaves it for the next try when kept is set.
func (s *Server) source(ctx context.Context, req *AddContent, progress func(done, total int64)) (done func(kept bool), err error) {
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
		return nil, problem(http.StatusConflict, protocol.CodeRefused, "wait for it", "%s is being fetched already", req.Path)
	}
	release := func() {
		s.mu.Lock()
		delete(s.fetching, req.Path)
		s.mu.Unlock()
	}
	res, err := fetch.Get(ctx, fetch.Request{
		URL: req.Path, Dir: filepath.Join(s.cfg.Data, dirDownloads), SHA256: req.SHA256, Rate: req.FetchRate / 8, Progress: progress,
		Room: s.library.HasRoom, // of the data folder, which the library is in
	})
	if err != nil {
		release()
		switch {
		case errors.Is(err, content.ErrNoSpace):
			return nil, contentProblem(err)
		case errors.Is(err, fetch.ErrURL):
			return nil, problem(http.StatusBadRequest, "", "", "%v", err)
		case errors.Is(err, fetch.ErrChecksum), errors.Is(err, fetch.ErrServer):
			return nil, problem(http.StatusBadGateway, "", "", "%v", err)
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
func (s *Server) add(ctx context.Context, id string, req AddContent, progress func(done, total int64)) (*content.Content, error) {
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
			return nil, contentProblem(add.Check()) // before something large is fetched for it
		}
	}
	done, err := s.source(ctx, &req, progress)
	if err != nil {
		return nil, err
	}
	add := request()
	var ct *content.Content
	if id == "" {
		ct, err = s.library.Add(ctx, add)
	} else {
		ct, err = s.library.Update(ctx, id, add)
	}
	// A file that is wrong is wrong tomorrow; one that found no room is not.
	done(err != nil && !errors.Is(err, content.ErrFile) && !errors.Is(err, content.ErrExists))
	return ct, contentProblem(err)
}

func (s *Server) updateContent(w http.ResponseWriter, r *http.Request) error {
	var req AddContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (any, error) { return s.add(r.Context(), ct.ID, req, progress) })
	return nil
}

// check refuses paths that mean something else in this process.
func (a *AddContent) check() error {
	for _, p := range []string{a.Path, a.Initrd} {
		if p != "" && !filepath.IsAbs(p) && (p != a.Path || !fetch.IsURL(p)) {
			return problem(http.StatusBadRequest, "", "", "path %q: want an absolute one, or a URL", p)
		}
	}
	if !fetch.IsURL(a.Path) && (a.SHA256 != "" || a.FetchRate != 0) {
		return problem(http.StatusBadRequest, "", "", "a SHA-256 and a rate are for URLs")
	}
	if a.FetchRate < 0 {
		return problem(http.StatusBadRequest, "", "", "the rate cannot be negative")
	}
	return nil
}

func (s *Server) collectGarbage(w http.ResponseWriter, r *http.Request) error {
	g, err := s.library.CollectGarbage(r.Context())
	if err != nil {
		return contentProblem(err)
	}
	writeJSON(w, http.StatusOK, Garbage{g.Objects, g.Bytes})
	return nil
}

// Garbage is what was deleted.
type Garbage struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// An export travels in frames, so that its end can say how it went: a length of
// 4 bytes, big-endian, and as many bytes; a length of 0 ends it, and a Step
// follows.
const frameSize = 256 << 10

func (s *Server) exportContent(w http.ResponseWriter, r *http.Request) error {
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	buffer := bufio.NewWriterSize(frames{w}, frameSize)
	err = s.library.Export(r.Context(), ct.ID, buffer, nil)
	if err == nil {
		err = buffer.Flush()
	}
	last := Step{Result: json.RawMessage("true")}
	if err != nil {
		last = Step{Problem: asProblem(contentProblem(err))}
	}
	if _, err := w.Write(make([]byte, 4)); err != nil {
		return nil // the client has gone
	}
	_ = json.NewEncoder(w).Encode(last) // likewise
	return nil
}

// frames writes each Write as a frame.
type frames struct{ w io.Writer }

func (f frames) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if _, err := f.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return 0, err
	}
	return f.w.Write(b)
}

// Export writes a content to w, as content.Library.Export does. progress, which
// may be nil, is told the bytes written.
func (c *AdminClient) Export(ctx context.Context, id string, w io.Writer, progress func(done int64)) error {
	res, err := c.request(ctx, http.MethodGet, "/contents/"+url.PathEscape(id)+"/export", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	in := bufio.NewReaderSize(res.Body, frameSize)
	for done := int64(0); ; {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("answer of the server ends early: %w", err)
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n == 0 {
			break
		}
		if _, err := io.CopyN(w, in, n); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		if done += n; progress != nil {
			progress(done)
		}
	}
	var last Step
	if err := json.NewDecoder(in).Decode(&last); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	if last.Problem != nil {
		return last.Problem
	}
	return nil
}

// ImportContent names an export on the server's host.
type ImportContent struct {
	Path string `json:"path"` // absolute
}

func (s *Server) importContent(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		return s.importBody(w, r)
	}
	var req ImportContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	if !filepath.IsAbs(req.Path) {
		return problem(http.StatusBadRequest, "", "", "path %q: want an absolute one", req.Path)
	}
	f, err := os.Open(req.Path)
	if err != nil {
		return fileProblem(fmt.Errorf("import: %w", err))
	}
	defer f.Close()
	stream(w, func(progress func(done, total int64)) (any, error) {
		ct, err := s.library.Import(r.Context(), f, progress)
		return ct, importProblem(err)
	})
	return nil
}

// importBody imports what comes as the request's body. It takes as long as it
// takes, and the body is read to its end whatever happens: the answer would not
// be heard before.
func (s *Server) importBody(w http.ResponseWriter, r *http.Request) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a client in this process has none
	ct, err := s.library.Import(r.Context(), r.Body, nil)
	if _, copyErr := io.Copy(io.Discard, r.Body); err == nil && copyErr != nil {
		err = copyErr
	}
	if err != nil {
		return importProblem(err)
	}
	writeJSON(w, http.StatusCreated, ct)
	return nil
}

func importProblem(err error) error {
	if errors.Is(err, content.ErrExport) {
		return problem(http.StatusUnprocessableEntity, "", "", "%v", err)
	}
	return contentProblem(err)
}

// Import sends an export to the library. For a file that the server can open
// itself Stream to /contents/import with ImportContent is shorter.
func (c *AdminClient) Import(ctx context.Context, r io.Reader) (*content.Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+AdminPrefix+"/contents/import", r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := c.send(req, "/contents/import")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	ct := &content.Content{}
	if err := json.NewDecoder(res.Body).Decode(ct); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	return ct, nil
}
