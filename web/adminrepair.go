package web

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"

	"castpoint/agent/protocol"
	"castpoint/content"
)

// RepairContent names the files that a content was made of.
type RepairContent struct {
	Path      string `json:"path"`             // absolute, or a URL
	Initrd    string `json:"initrd,omitempty"` // absolute
	FetchRate int64  `json:"fetch_rate,omitempty"`
}

// repairContent adds the same files again, which replaces damaged objects.
func (s *Server) repairContent(w http.ResponseWriter, r *http.Request) error {
	var req RepairContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	add := AddContent{Path: req.Path, Initrd: req.Initrd, FetchRate: req.FetchRate}
	if err := add.check(); err != nil {
		return err
	}
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (any, error) {
		return s.repair(r.Context(), ct, add, progress)
	})
	return nil
}

func (s *Server) repair(ctx context.Context, ct *content.Content, req AddContent, progress func(done, total int64)) (*content.Validation, error) {
	done, err := s.source(ctx, &req, progress)
	if err != nil {
		return nil, err
	}
	defer done(false)
	if err := sameFiles(ctx, ct, req.Path, req.Initrd); err != nil {
		return nil, err
	}
	if _, err := s.library.Update(ctx, ct.ID, content.AddRequest{
		Kind: ct.Kind, Path: req.Path, Initrd: req.Initrd, Name: ct.Name, Version: ct.Version, Comment: ct.Comment,
		Index: ct.Index, Arch: ct.Arch, Distribution: ct.Distribution, Progress: progress,
	}); err != nil {
		return nil, contentProblem(err)
	}
	v, err := s.library.Validate(ctx, ct.ID, progress)
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return nil, contentProblem(fmt.Errorf("after the repair: %w", err))
	}
	return v, nil
}

// sameFiles refuses files that are not those of the content. Folders are not
// compared: content.Library.Update does what is needed of them.
func sameFiles(ctx context.Context, ct *content.Content, path, initrd string) error {
	want := map[content.Role]string{content.RoleImage: path}
	if _, ok := ct.File(content.RoleKernel); ok {
		want = map[content.Role]string{content.RoleKernel: path, content.RoleInitrd: initrd}
	} else if _, ok := ct.File(content.RoleImage); !ok {
		return problem(http.StatusConflict, protocol.CodeRefused, "castpoint content update "+ct.ID+" FOLDER does it", "content %s is a folder", ct.ID)
	}
	for role, from := range want {
		f, ok := ct.File(role)
		if !ok {
			continue
		}
		if from == "" {
			return problem(http.StatusBadRequest, "", "say where it is with --initrd", "content %s has an %s", ct.ID, role)
		}
		d, err := digestFile(ctx, from)
		if err != nil {
			return problem(http.StatusBadRequest, "", "", "repair %s: %v", ct.ID, err)
		}
		if d != f.Digest {
			return problem(http.StatusConflict, protocol.CodeRefused, "castpoint content update takes another file",
				"%s has SHA-256 %s, the %s of content %s has %s", from, d, role, ct.ID, f.Digest)
		}
	}
	return nil
}

func digestFile(ctx context.Context, path string) (d content.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, f}); err != nil {
		return d, err
	}
	return content.Digest(h.Sum(nil)), nil
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
