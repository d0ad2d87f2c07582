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
	"reflect"

	"castpoint/content"
	"castpoint/web/access"
	"castpoint/web/api"
)

// bytesType is the media type of exports.
const bytesType = "application/octet-stream"

func (s *Server) transferOperations(a *api.API) {
	const tag = "contents"
	api.Serve(a, api.Operation{
		ID: "export-content", Method: http.MethodGet, Path: "/contents/{id}/export", Scope: access.Operate, Tag: tag, Sends: bytesType,
		Summary: "A content for another server, in frames: a length of 4 bytes, big-endian, and as many bytes; a length of 0, and a Step",
		About:   "The answer comes in frames: a length of 4 bytes, big-endian, and as many bytes; a length of 0 ends it, and a Step follows that says how it went.",
	}, s.exportContent)
	api.Steps(a, api.Operation{
		ID: "import-content", Method: http.MethodPost, Path: "/contents/import", Scope: access.Admin, Tag: tag,
		Summary: "Put an export that is on the server's host into the library",
		About:   "The export is one of export-content. The content gets the id that it had, if that is free.",
		Errors:  []int{http.StatusNotFound, http.StatusConflict, http.StatusInsufficientStorage},
	}, s.importContent)
	api.Serve(a, api.Operation{
		ID: "receive-content", Method: http.MethodPost, Path: "/contents/receive", Scope: access.Admin, Tag: tag,
		Takes: bytesType, Sends: "application/json", SendsJSON: reflect.TypeFor[content.Content](), Status: http.StatusCreated,
		Summary: "Put an export, the body, into the library",
		About:   "The body is an export of export-content. The content gets the id that it had, if that is free.",
		Errors:  []int{http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage},
	}, s.receiveContent)
}

// An export travels in frames, so that its end can say how it went: a length of
// 4 bytes, big-endian, and as many bytes; a length of 0 ends it, and a Step
// follows.
const frameSize = 256 << 10

func (s *Server) exportContent(ctx context.Context, in *ContentPath, w http.ResponseWriter, _ *http.Request) error {
	ct, err := s.contentByID(in.ID)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", bytesType)
	buffer := bufio.NewWriterSize(frames{w}, frameSize)
	err = s.library.Export(ctx, ct.ID, buffer, nil)
	if err == nil {
		err = buffer.Flush()
	}
	last := api.Step{Result: json.RawMessage("true")}
	if err != nil {
		last = api.Step{Problem: api.AsProblem(api.ContentProblem(err))}
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
	var last api.Step
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

func (s *Server) importContent(_ context.Context, in *struct{ Body ImportContent }) (contentWork, error) {
	if !filepath.IsAbs(in.Body.Path) {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "path %q: want an absolute one", in.Body.Path)
	}
	f, err := os.Open(in.Body.Path)
	if err != nil {
		return nil, api.FileProblem(fmt.Errorf("import: %w", err))
	}
	return func(ctx context.Context, progress api.Progress) (*content.Content, error) {
		defer f.Close()
		ct, err := s.library.Import(ctx, f, progress)
		return ct, importProblem(err)
	}, nil
}

// receiveContent imports what comes as the request's body.
func (s *Server) receiveContent(ctx context.Context, _ *struct{}, w http.ResponseWriter, r *http.Request) (err error) {
	up, err := s.uploads.Begin(w, r, access.Name(ctx), "")
	if err != nil {
		return api.ContentProblem(err)
	}
	defer func() { err = errors.Join(err, up.End()) }()
	body := up.Reader()
	ct, err := s.library.Import(ctx, body, nil)
	// It is read to its end: the answer would not be heard before.
	if _, copyErr := io.Copy(io.Discard, body); copyErr != nil {
		err = copyErr // an export that ends early has done so because of this
	}
	if err != nil {
		return importProblem(err)
	}
	api.Note(ctx, "as %s", ct.ID)
	api.WriteJSON(w, http.StatusCreated, ct)
	return nil
}

func importProblem(err error) error {
	if errors.Is(err, content.ErrExport) {
		return api.Refusal(http.StatusUnprocessableEntity, "", "", "%v", err)
	}
	return api.ContentProblem(err)
}

// Import sends an export to the library. For a file that the server can open
// itself Stream to /contents/import with ImportContent is shorter.
func (c *AdminClient) Import(ctx context.Context, r io.Reader) (*content.Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+AdminPrefix+"/contents/receive", r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", bytesType)
	req.Header.Set("Expect", "100-continue") // a refusal comes before anything is sent
	res, err := c.send(req, "/contents/receive")
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
