package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	samples "castpoint/test/contents"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/sessions"
)

// damage spoils a byte of a content's first object.
func damage(t *testing.T, lib *library.Library, ct *content.Content, at int) string {
	t.Helper()
	d := ct.Files[0].Digest.String()
	path := filepath.Join(lib.Dir(), "objects", d[:2], d)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
	return path
}

// A server repairs a content from another one, which knows it by a token for
// that content's files and by nothing else.
func TestRepairFromPeer(t *testing.T) {
	ctx := t.Context()
	// Multicast only is about machines.
	main := newPoint(t, content.Distribution{Multicast: true, MulticastOnly: true}, nil)
	branch := newPoint(t, samples.Free, nil)
	mainAdmin, client := main.Client(), branch.Client()
	token := func(req sessions.CreateToken) string {
		t.Helper()
		var made sessions.CreatedToken
		if err := mainAdmin.Call(ctx, http.MethodPost, "/tokens", req, &made); err != nil {
			t.Fatal(err)
		}
		return made.Token
	}
	other, _ := samples.AddImage(t, main.lib, "other", 1000, samples.Free)
	files := token(sessions.CreateToken{Content: main.ct.ID, Files: true})
	pin := main.Identity().Pin.String()
	path := damage(t, branch.lib, branch.ct, 400_000)
	for _, c := range []struct {
		name   string
		req    contents.RepairContent
		status int
		words  string
	}{
		{"unknown token", contents.RepairContent{From: main.url, Pin: pin, Token: strings.Repeat("0", 32)}, 403, "not known"},
		{"receiver's token", contents.RepairContent{From: main.url, Pin: pin, Token: token(sessions.CreateToken{Content: main.ct.ID})}, 403, "not known"},
		{"token of another content", contents.RepairContent{From: main.url, Pin: pin, Token: token(sessions.CreateToken{Content: other.ID, Files: true})}, 404, "no object"},
		{"pin of another server", contents.RepairContent{From: main.url, Pin: branch.Identity().Pin.String(), Token: files}, 403, "not the expected server"},
		{"no pin", contents.RepairContent{From: main.url, Token: files}, 400, ""},
		{"nobody there", contents.RepairContent{From: "https://127.0.0.1:1", Pin: pin, Token: files}, 502, "127.0.0.1:1"},
		{"both", contents.RepairContent{From: main.url, Pin: pin, Token: files, Path: "/x"}, 400, "either"},
	} {
		err := client.Stream(ctx, http.MethodPost, "/contents/"+branch.ct.ID+"/repair", c.req, nil, nil)
		wantStatus(t, err, c.status)
		if err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", c.name, err, c.words)
		}
	}
	var v library.Validation
	if err := client.Stream(ctx, http.MethodPost, "/contents/"+branch.ct.ID+"/repair", contents.RepairContent{From: main.url, Pin: pin, Token: files}, nil, &v); err != nil || v.Err() != nil {
		t.Fatal(err, v.Err())
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, branch.data) {
		t.Errorf("repaired: %d bytes, %v", len(b), err)
	}
	// The token reads again, also an object that is lost, but is none to join with.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := client.Stream(ctx, http.MethodPost, "/contents/"+branch.ct.ID+"/repair", contents.RepairContent{From: main.url, Pin: pin, Token: files}, nil, &v); err != nil || v.Err() != nil {
		t.Fatal(err, v.Err())
	}
	if _, err := main.Tokens().Check(files, "", nil); err == nil {
		t.Error("a receiver joins with a token for files")
	}
}

// What calls itself another server does not send this one on, and of what it says nothing
// is shown.
func TestRepairLeadsNowhereElse(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the server has followed another one's answer")
	}))
	defer elsewhere.Close()
	var code int
	peer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Inside", "inside")
		if code < 400 {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, code)
			return
		}
		http.Error(w, "inside", code)
	}))
	defer peer.Close()
	branch := newPoint(t, samples.Free, nil)
	damage(t, branch.lib, branch.ct, 400_000)
	pin := protocol.NewPin(peer.Certificate().Raw).String() // that of elsewhere, too
	for _, code = range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusTeapot} {
		err := branch.Client().Stream(t.Context(), http.MethodPost, "/contents/"+branch.ct.ID+"/repair", contents.RepairContent{From: peer.URL, Pin: pin, Token: "x"}, nil, nil)
		wantStatus(t, err, http.StatusBadGateway)
		if err != nil && (strings.Contains(err.Error(), "inside") || !strings.Contains(err.Error(), http.StatusText(code))) {
			t.Error(err)
		}
	}
}
