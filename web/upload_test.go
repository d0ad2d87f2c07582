package web

import (
	"archive/tar"
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
	"castpoint/test/contents"
	"castpoint/web/access"
)

// An upload that cannot be used is refused and leaves nothing; what a server that
// was killed has left goes with the next start.
func TestUploadRefused(t *testing.T) {
	data := t.TempDir()
	left := filepath.Join(data, "downloads", "upload-123")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPoint(t, contents.Free, func(c *Config) { c.Data = data })
	if _, err := os.Stat(left); err == nil {
		t.Error("what was left is still there")
	}
	anna := access.With(t.Context(), access.Identity{Name: "anna", Scope: access.Admin})
	operator := access.With(t.Context(), access.Identity{Name: "otto", Scope: access.Operate})
	c := p.ConsoleClient()
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
		{"file=a&kind=boot-image&initrd=b", false, http.StatusBadRequest, "archive"},
		{"file=a&kind=boot-image&initrd=../b&tar=true", false, http.StatusBadRequest, "initrd"},
		{"file=a&kind=package&tar=true&programs=[{\"nam\":\"x\"}]", false, http.StatusBadRequest, "nam"},
		{"file=a&kind=package&tar=true", false, http.StatusBadRequest, "archive"}, // the body is none
		{"file=a&kind=package&update=nothing", false, http.StatusNotFound, "nothing"},
		{"kind=os-image", false, http.StatusUnprocessableEntity, "file"},
	} {
		q, err := url.ParseQuery(u.query)
		if err != nil {
			t.Fatal(err)
		}
		ctx := anna
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
	if files, err := os.ReadDir(filepath.Join(data, "downloads")); err != nil || len(files) > 0 {
		t.Errorf("left: %v %v", files, err)
	}
	// Without anybody in the context nothing is answered.
	if err := c.Call(t.Context(), http.MethodGet, "/status", nil, nil); err == nil {
		t.Error("a stranger is answered")
	}
}

// An archive becomes a content with all that is said about it, and new files for one.
func TestUploadArchive(t *testing.T) {
	p := newPoint(t, contents.Free, func(c *Config) { c.Data = t.TempDir() })
	c := p.ConsoleClient()
	ctx := access.With(t.Context(), access.Identity{Name: "anna", Scope: access.Admin})
	send := func(query string, files map[string]string) (ct content.Content, err error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, text := range files {
			if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return ct, c.Upload(ctx, q, &b, &ct)
	}
	programs := url.QueryEscape(`[{"name":"install","command":"7z.exe /S"}]`)
	ct, err := send("file=7zip&kind=package&tar=true&name=7-Zip&version=24&language=en-US&priority=high&multicast=true&programs="+programs,
		map[string]string{"7zip/7z.exe": "program", "7zip/x64/7z.dll": "library"})
	if err != nil || ct.Name != "7-Zip" || ct.Version != "24" || len(ct.Files) != 2 || ct.Language != "en-US" || ct.Source != "upload:7zip" ||
		len(ct.Programs) != 1 || ct.Programs[0].Command != "7z.exe /S" || !ct.Distribution.Multicast || ct.Distribution.Priority != content.PriorityHigh {
		t.Fatalf("%+v: %v", ct, err)
	}
	next, err := send("file=other&kind=package&tar=true&update="+ct.ID, map[string]string{"other/new.exe": "new"})
	if err != nil || next.ID != ct.ID || next.Revision != 2 || len(next.Files) != 1 || len(next.Programs) != 1 {
		t.Errorf("%+v: %v", next, err)
	}
	var problem *protocol.Problem
	_, err = send("file=other&kind=driver-package&tar=true&update="+ct.ID, map[string]string{"other/new.inf": "new"})
	if !errors.As(err, &problem) || problem.Status != http.StatusBadRequest || !strings.Contains(problem.Detail, "is a package") {
		t.Errorf("another kind: %v", err)
	}
	_, err = send("file=nothing&kind=package&tar=true", map[string]string{"other/new.exe": "new"})
	if !errors.As(err, &problem) || problem.Status != http.StatusNotFound || strings.Contains(problem.Detail, "upload-") {
		t.Errorf("a member that is not there: %v", err)
	}
}
