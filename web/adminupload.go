package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"castpoint/content"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *Server) uploadOperations(a *api.API) {
	api.Serve(a, api.Operation{
		ID: "upload-content", Method: http.MethodPost, Path: "/contents/upload", Scope: access.Admin, Tag: "contents",
		Takes: bytesType, Sends: "application/json", Status: http.StatusCreated,
		Summary: "Put a file, the body, into the library",
	}, s.uploadContent)
}

// UploadContent says what a file is that is the body of a request.
type UploadContent struct {
	File          string       `query:"file" required:"true" doc:"name of the file, without a folder"`
	Kind          content.Kind `query:"kind" required:"true"`
	Name          string       `query:"name" doc:"left out: from the file"`
	Version       string       `query:"version"`
	Comment       string       `query:"comment"`
	Index         int          `query:"index" doc:"image inside the WIM"`
	Multicast     bool         `query:"multicast"`
	Encrypt       bool         `query:"encrypt"`
	MulticastOnly bool         `query:"multicast_only"`
}

// uploadPrefix begins the names of the folders, among the downloads, of files that
// are being uploaded.
const uploadPrefix = "upload-"

// uploadContent keeps the body as a file, and adds a content out of it. It is read
// to its end whatever is wrong with it: the answer would not be heard before.
func (s *Server) uploadContent(ctx context.Context, in *UploadContent, w http.ResponseWriter, r *http.Request) error {
	name := in.File
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "\\\x00") {
		return problem(http.StatusBadRequest, "", "", "file %q: want the name of the file, without a folder", name)
	}
	distribution := content.Distribution{Multicast: in.Multicast, Encrypt: in.Encrypt, MulticastOnly: in.MulticastOnly}
	add := content.AddRequest{Kind: in.Kind, Path: name, Name: in.Name, Version: in.Version, Comment: in.Comment, Index: in.Index, Distribution: distribution}
	if err := add.Check(); err != nil {
		return contentProblem(err) // before something large has come in for it
	}
	path, err := s.keepUpload(r, name)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(path)) }()
	ct, err := s.add(ctx, "", AddContent{
		Kind: in.Kind, Path: path, Name: in.Name, Version: in.Version, Comment: in.Comment, Index: in.Index, Distribution: distribution,
		Source: "upload:" + name, HardLink: true, // nobody else writes to it
	}, nil)
	if err != nil {
		return err
	}
	api.Note(ctx, "%s as %s", name, ct.ID)
	writeJSON(w, http.StatusCreated, ct)
	return nil
}

// keepUpload writes the body of a request to a file of that name in a folder of its
// own.
func (s *Server) keepUpload(r *http.Request, name string) (path string, err error) {
	if r.ContentLength > 0 {
		if err := s.library.HasRoom(r.ContentLength); err != nil {
			return "", contentProblem(err)
		}
	}
	dir := filepath.Join(s.cfg.Data, dirDownloads)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("take upload %s: %w", name, err)
	}
	if dir, err = os.MkdirTemp(dir, uploadPrefix+"*"); err != nil {
		return "", fmt.Errorf("take upload %s: %w", name, err)
	}
	path = filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(f, r.Body)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("take upload %s: %w", name, err)
	}
	return path, nil
}

// sweepUploads removes what a server that was killed has left of uploads.
func sweepUploads(data string) error {
	dir := filepath.Join(data, dirDownloads)
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), uploadPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Upload adds a content out of a file that body gives; query has the fields of
// UploadContent.
func (c *AdminClient) Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error {
	const path = "/contents/upload"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+AdminPrefix+path+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", bytesType)
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
