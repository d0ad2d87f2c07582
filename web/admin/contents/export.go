package contents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"

	"castpoint/content"
	"castpoint/content/library"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *operations) transferOperations(a *api.API) {
	const tag = "contents"
	api.Serve(a, api.Operation{
		ID: "export-content", Method: http.MethodGet, Path: "/contents/{id}/export", Scope: access.Operate, Tag: tag, Sends: api.BytesType,
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
		Takes: api.BytesType, Sends: "application/json", SendsJSON: reflect.TypeFor[content.Content](), Status: http.StatusCreated,
		Summary: "Put an export, the body, into the library",
		About:   "The body is an export of export-content. The content gets the id that it had, if that is free.",
		Errors:  []int{http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage},
	}, s.receiveContent)
}

func (s *operations) exportContent(ctx context.Context, in *ContentPath, w http.ResponseWriter, _ *http.Request) error {
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", api.BytesType)
	api.SendFrames(w, func(w io.Writer) error { return api.ContentProblem(s.Library.Export(ctx, ct.ID, w, nil)) })
	return nil
}

// ImportContent names an export on the server's host.
type ImportContent struct {
	Path string `json:"path"` // absolute
}

func (s *operations) importContent(_ context.Context, in *struct{ Body ImportContent }) (contentWork, error) {
	if !filepath.IsAbs(in.Body.Path) {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "path %q: want an absolute one", in.Body.Path)
	}
	f, err := os.Open(in.Body.Path)
	if err != nil {
		return nil, api.FileProblem(fmt.Errorf("import: %w", err))
	}
	return func(ctx context.Context, progress api.Progress) (*content.Content, error) {
		defer f.Close()
		ct, err := s.Library.Import(ctx, f, progress)
		return ct, importProblem(err)
	}, nil
}

// receiveContent imports what comes as the request's body.
func (s *operations) receiveContent(ctx context.Context, _ *struct{}, w http.ResponseWriter, r *http.Request) (err error) {
	up, err := s.Uploads.Begin(w, r, access.Name(ctx), "")
	if err != nil {
		return api.ContentProblem(err)
	}
	defer func() { err = errors.Join(err, up.End()) }()
	body := up.Reader()
	ct, err := s.Library.Import(ctx, body, nil)
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
	if errors.Is(err, library.ErrExport) {
		return api.Refusal(http.StatusUnprocessableEntity, "", "", "%v", err)
	}
	return api.ContentProblem(err)
}
