package web

import (
	"errors"
	"net"
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
	"castpoint/web/admin"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/sessions"
	"castpoint/web/api"
	"castpoint/web/call"
	"castpoint/web/session"
)

func TestGuard(t *testing.T) {
	p := newPoint(t, samples.Free, nil)
	h := p.AdminServer("secret").Handler
	for _, c := range []struct {
		host, origin, auth string
		want               int
	}{
		{"127.0.0.1:8069", "", "Bearer secret", 200},
		{"localhost", "", "bearer secret", 200},
		{"[::1]:8069", "http://[::1]:8069", "Bearer secret", 200},
		{"127.0.0.1:8069", "", "", 401},
		{"127.0.0.1:8069", "", "Bearer wrong", 401},
		{"127.0.0.1:8069", "", "Basic secret", 401},
		{"rebound.example:8069", "", "Bearer secret", 421},
		{"127.0.0.1:8069", "http://localhost:3000", "Bearer secret", 403},
		{"127.0.0.1:8069", "http://evil.example", "Bearer secret", 403},
		{"127.0.0.1:8069", "null", "Bearer secret", 403},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/status", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v answered %d %s", c, w.Code, w.Body)
		}
	}
	// A server without a token lets nobody in.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/status", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	p.AdminServer("").Handler.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("an empty token was accepted: %d", w.Code)
	}
}

// clients are the two ways to the same handler.
func clients(t *testing.T, p *point) map[string]*call.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	token := call.NewToken()
	srv := p.AdminServer(token)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	remote := call.New(call.File{Address: l.Addr().String(), Token: token})
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	return map[string]*call.Client{"running server": remote, "in process": p.Client()}
}

func TestContentsByAdminAPI(t *testing.T) {
	p := newPoint(t, samples.Free, nil)
	for way, c := range clients(t, p) {
		t.Run(way, func(t *testing.T) {
			ctx := t.Context()
			dir := filepath.Join(t.TempDir(), "src")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 3<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			var made content.Content
			steps := 0
			err := c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: content.KindPackage, Path: dir, Name: "drivers"}, func(done, total int64) {
				if total != 3<<20 || done < 0 || done > total {
					t.Errorf("progress %d of %d", done, total)
				}
				steps++
			}, &made)
			if err != nil || made.ID != "drivers" || steps == 0 {
				t.Fatal(made, steps, err)
			}
			err = c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: content.KindPackage, Path: dir, Name: "drivers"}, nil, &made)
			wantStatus(t, err, 409)
			err = c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: content.KindOSImage, Path: filepath.Join(dir, "f")}, nil, &made)
			wantStatus(t, err, 422)
			err = c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: content.KindOSImage, Path: filepath.Join(dir, "none")}, nil, &made)
			wantStatus(t, err, 404)
			err = c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: "cheese", Path: dir}, nil, &made)
			wantStatus(t, err, 400)
			err = c.Stream(ctx, http.MethodPost, "/contents", contents.AddContent{Kind: content.KindOSImage, Path: "relative.wim"}, nil, &made)
			wantStatus(t, err, 400)

			yes := true
			name := "better"
			var changed content.Content
			if err := c.Call(ctx, http.MethodPatch, "/contents/drivers", contents.SetContent{Name: &name, Multicast: &yes}, &changed); err != nil || !changed.Distribution.Multicast || changed.Name != "better" {
				t.Fatal(changed, err)
			}
			wantStatus(t, c.Call(ctx, http.MethodPatch, "/contents/drivers", map[string]any{"speed": 3}, nil), 422)
			var v library.Validation
			if err := c.Stream(ctx, http.MethodPost, "/contents/drivers/validate", nil, nil, &v); err != nil || v.Err() != nil {
				t.Fatal(v, err)
			}
			if list, err := call.List[content.Content](ctx, c, "/contents"); err != nil || len(list) != 2 {
				t.Fatal(list, err)
			}
			if err := c.Call(ctx, http.MethodDelete, "/contents/drivers", nil, nil); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, c.Call(ctx, http.MethodGet, "/contents/drivers", nil, &made), 404)
			wantStatus(t, c.Call(ctx, http.MethodDelete, "/contents/drivers", nil, nil), 404)
			wantStatus(t, c.Call(ctx, http.MethodPost, "/contents", map[string]string{"comment": strings.Repeat("x", 1<<20)}, nil), 413)
		})
	}
}

func wantStatus(t *testing.T, err error, status int) {
	t.Helper()
	p, ok := errors.AsType[*protocol.Problem](err)
	if !ok || p.Status != status || p.Detail == "" {
		t.Fatalf("error %v, want status %d", err, status)
	}
}

func TestTokensAndSessionsByAdminAPI(t *testing.T) {
	p := newPoint(t, samples.Free, nil)
	for way, c := range clients(t, p) {
		t.Run(way, func(t *testing.T) {
			ctx := t.Context()
			var k sessions.CreatedToken
			if err := c.Call(ctx, http.MethodPost, "/tokens", sessions.CreateToken{Content: "image", MAC: "52-54-00-AA-00-01", TTL: 60}, &k); err != nil ||
				k.MAC != "52:54:00:aa:00:01" || k.Content != p.ct.ID || k.Server != "https://127.0.0.1:8443" || k.Pin != p.Identity().Pin.String() {
				t.Fatal(k, err)
			}
			wantStatus(t, c.Call(ctx, http.MethodPost, "/tokens", sessions.CreateToken{Content: "nothing"}, nil), 404)
			wantStatus(t, c.Call(ctx, http.MethodPost, "/tokens", sessions.CreateToken{Content: "image", MAC: "x"}, nil), 400)
			wantStatus(t, c.Call(ctx, http.MethodPost, "/tokens", sessions.CreateToken{Content: "image", TTL: -1}, nil), 400)

			var s session.Info
			if err := c.Call(ctx, http.MethodPost, "/sessions", sessions.StartSession{Content: "image", MinMembers: 3, Open: 60}, &s); err != nil || s.State != "waiting" {
				t.Fatal(s, err)
			}
			wantStatus(t, c.Call(ctx, http.MethodPost, "/sessions", sessions.StartSession{Content: "image"}, nil), 409)
			wantStatus(t, c.Call(ctx, http.MethodPost, "/sessions", sessions.StartSession{Content: "image", MinMembers: -1}, nil), 400)
			if err := c.Call(ctx, http.MethodPost, "/sessions", sessions.StartSession{Content: "image", Now: true}, &s); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, c.Call(ctx, http.MethodDelete, "/contents/image", nil, nil), 409)
			for _, id := range []string{s.ID, p.ct.ID} {
				var got session.Info
				if err := c.Call(ctx, http.MethodGet, "/sessions/"+id, nil, &got); err != nil || got.ID != s.ID {
					t.Fatal(got, err)
				}
			}
			wantStatus(t, c.Call(ctx, http.MethodDelete, "/sessions/"+s.ID+"/members/7", nil, nil), 404)
			wantStatus(t, c.Call(ctx, http.MethodDelete, "/sessions/"+s.ID+"/members/nobody", nil, nil), 404)
			var st admin.Status
			if err := c.Call(ctx, http.MethodGet, "/status", nil, &st); err != nil || st.Sessions != 1 || st.Contents != 1 || st.Version != "test" {
				t.Fatal(st, err)
			}
			if err := c.Call(ctx, http.MethodDelete, "/sessions/"+s.ID, nil, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the session is off the list", func() bool {
				_, err := p.Keeper().Find(s.ID)
				return err != nil
			})
			wantStatus(t, c.Call(ctx, http.MethodDelete, "/sessions/"+s.ID, nil, nil), 404)
			if list, err := call.List[session.Info](ctx, c, "/sessions"); err != nil || len(list) == 0 || list[0].Ended == nil {
				t.Fatal(list, err)
			}
		})
	}
}

func TestWithoutANetworkSessionsAreRefused(t *testing.T) {
	lib, _, _ := samples.New(t, 1000, samples.Free)
	s, err := New(Config{Data: t.TempDir(), Library: lib})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.Client()
	wantStatus(t, c.Call(t.Context(), http.MethodPost, "/sessions", sessions.StartSession{Content: "image"}, nil), 503)
	wantStatus(t, c.Call(t.Context(), http.MethodDelete, "/sessions/0", nil, nil), 503)
	if list, err := call.List[session.Info](t.Context(), c, "/sessions"); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}
