package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"

	"castpoint/content"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/upload"
)

func (s *Server) uploadOperations(a *api.API) {
	api.Serve(a, api.Operation{
		ID: "upload-content", Method: http.MethodPost, Path: "/contents/upload", Scope: access.Admin, Tag: "contents",
		Takes: bytesType, Sends: "application/json", SendsJSON: reflect.TypeFor[content.Content](), Status: http.StatusCreated,
		Summary: "Put a file, the body, into the library",
		About:   "The body is the file. Some uploads at once are taken, and as much as the disk's reserve leaves; one that stands still is given up, and nothing of it stays. The file is inspected in a process of its own with limits of memory and time.",
		Errors:  []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage},
	}, s.uploadContent)
}

// UploadContent says what a file is that is the body of a request.
type UploadContent struct {
	File          string       `query:"file" required:"true" doc:"name of the file, without a folder"`
	Kind          content.Kind `query:"kind" required:"true" doc:"os-image, boot-image, os-upgrade, driver-package or package"`
	Name          string       `query:"name" doc:"left out: from the file"`
	Version       string       `query:"version" doc:"text for people; left out for what the image says"`
	Comment       string       `query:"comment" doc:"text for people"`
	Index         int          `query:"index" doc:"image inside the WIM"`
	Multicast     bool         `query:"multicast" doc:"it may be sent by multicast"`
	Encrypt       bool         `query:"encrypt" doc:"it must be encrypted on its way"`
	MulticastOnly bool         `query:"multicast_only" doc:"it may be sent by multicast only"`
}

// uploadContent keeps the body as a file, and adds a content out of it.
func (s *Server) uploadContent(ctx context.Context, in *UploadContent, w http.ResponseWriter, r *http.Request) (err error) {
	name := in.File
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "\\\x00") {
		return problem(http.StatusBadRequest, "", "", "file %q: want the name of the file, without a folder", name)
	}
	distribution := content.Distribution{Multicast: in.Multicast, Encrypt: in.Encrypt, MulticastOnly: in.MulticastOnly}
	add := content.AddRequest{Kind: in.Kind, Path: name, Name: in.Name, Version: in.Version, Comment: in.Comment, Index: in.Index, Distribution: distribution}
	if err := add.Check(); err != nil {
		return contentProblem(err) // before something large has come in for it
	}
	up, err := s.uploads.Begin(w, r, access.Name(ctx), name)
	if err != nil {
		return contentProblem(err)
	}
	defer func() { err = errors.Join(err, up.End()) }()
	path, err := up.Keep(name)
	if err != nil {
		return contentProblem(err)
	}
	ct, err := s.add(ctx, "", AddContent{
		Kind: in.Kind, Path: path, Name: in.Name, Version: in.Version, Comment: in.Comment, Index: in.Index, Distribution: distribution,
		Source: "upload:" + name, HardLink: true, // nobody else writes to it
	}, nil)
	if err != nil {
		p := *asProblem(err)
		p.Detail = strings.ReplaceAll(p.Detail, path, name) // where it was kept means nothing to the client
		return &p
	}
	api.Note(ctx, "%s as %s", name, ct.ID)
	writeJSON(w, http.StatusCreated, ct)
	return nil
}

// Uploads are those that are going on.
func (s *Server) Uploads() []upload.Info { return s.uploads.Now() }

// Upload adds a content out of a file that body gives; query has the fields of
// UploadContent.
func (c *AdminClient) Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error {
	const path = "/contents/upload"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+AdminPrefix+path+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", bytesType)
	req.Header.Set("Expect", "100-continue") // a refusal comes before anything is sent
	res, err := c.send(req, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}
