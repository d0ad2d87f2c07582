package web

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/web/access"
)

// An upload that cannot be used is refused and leaves nothing; what a server that
// was killed has left goes with the next start.
func TestUploadRefused(t *testing.T) {
	data := t.TempDir()
	left := filepath.Join(data, dirDownloads, "upload-123")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPoint(t, free, func(c *Config) { c.Data = data })
	if _, err := os.Stat(left); err == nil {
		t.Error("what was left is still there")
	}
	admin := access.With(t.Context(), access.Identity{Name: "anna", Scope: access.Admin})
	operator := access.With(t.Context(), access.Identity{Name: "otto", Scope: access.Operate})
	c := NewConsoleClient(p.Server)
	for _, u := range []struct {
		query  string
		ctx    bool // an operator's
		status int
		says   string
	}{
		{"file=install.wim&kind=os-image", false, http.StatusUnprocessableEntity, "install.wim"}, // it is no WIM
		{"file=install.wim&kind=os-image", true, http.StatusForbidden, "admin"},
		{"file=../install.wim&kind=os-image", false, http.StatusBadRequest, "without a folder"},
		{"file=install.wim&kind=music", false, http.StatusBadRequest, "music"},
		{"kind=os-image", false, http.StatusUnprocessableEntity, "file"},
	} {
		q, err := url.ParseQuery(u.query)
		if err != nil {
			t.Fatal(err)
		}
		ctx := admin
		if u.ctx {
			ctx = operator
		}
		var ct content.Content
		err = c.Upload(ctx, q, bytes.NewReader([]byte("this is no WIM")), &ct)
		var problem *protocol.Problem
		if !errors.As(err, &problem) || problem.Status != u.status || !strings.Contains(problem.Detail, u.says) {
			t.Errorf("%s: %v (%+v), want %d and %q", u.query, err, problem, u.status, u.says)
		}
	}
	if files, err := os.ReadDir(filepath.Join(data, dirDownloads)); err != nil || len(files) > 0 {
		t.Errorf("left: %v %v", files, err)
	}
	// Without anybody in the context nothing is answered.
	if err := c.Call(t.Context(), http.MethodGet, "/status", nil, nil); err == nil {
		t.Error("a stranger is answered")
	}
}
