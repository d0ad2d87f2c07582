package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"castpoint/web/access"
)

func TestCut(t *testing.T) {
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("%02d", i))
	}
	key := func(s *string) string { return *s }
	var got []string
	pages := 0
	for after := ""; ; pages++ {
		p := Cut(all, key, PageQuery{After: after, Limit: 10})
		if p.Total != 25 || len(p.Items) > 10 {
			t.Fatalf("%+v", p)
		}
		if got, after = append(got, p.Items...), p.Next; after == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(all, " ") || pages != 2 {
		t.Error(pages, got)
	}
	// What a page ended with may be gone when the next one is asked for.
	if p := Cut(all, key, PageQuery{After: "045", Limit: 1}); p.Items[0] != "05" {
		t.Errorf("%+v", p)
	}
	if p := Cut(all[:0], key, PageQuery{After: "x"}); p.Items == nil || p.Next != "" {
		t.Errorf("%+v", p)
	}
}

// thing is an answer.
type thing struct {
	Name string `json:"name"`
}

// Path is a part of requests.
type Path struct {
	ID string `path:"id"`
}

func example(audit func(context.Context, access.Entry)) *API {
	a := New(Config{Audit: audit})
	Answer(a, Operation{ID: "set-thing", Method: http.MethodPut, Path: "/things/{id}", Scope: access.Operate, Tag: "things"}, func(ctx context.Context, in *struct {
		Path
		Body thing
	}) (thing, error) {
		Note(ctx, "called %s", in.Body.Name)
		if in.Body.Name == "broken" {
			return thing{}, errors.New("the disk is full")
		}
		return thing{in.ID + " " + in.Body.Name}, nil
	})
	Steps(a, Operation{ID: "check-thing", Method: http.MethodPost, Path: "/things/{id}/check", Scope: access.Read, Tag: "things"},
		func(_ context.Context, in *Path) (func(context.Context, Progress) (thing, error), error) {
			if in.ID == "none" {
				return nil, Problem(http.StatusNotFound, "look again", "no thing %q", in.ID)
			}
			return func(_ context.Context, progress Progress) (thing, error) {
				progress(1, 2)
				progress(2, 2)
				if in.ID == "bad" {
					return thing{}, Problem(http.StatusConflict, "", "it is damaged")
				}
				return thing{in.ID}, nil
			}, nil
		})
	Follow(a, Operation{ID: "follow-thing", Method: http.MethodGet, Path: "/things/{id}/events", Scope: access.Read, Tag: "things"},
		func(ctx context.Context, in *Path, s *Stream[thing]) error {
			for i := range 3 {
				if err := s.Send(ctx, int64(i), "", thing{in.ID}); err != nil {
					return err
				}
			}
			return nil
		})
	return a
}

func TestOperations(t *testing.T) {
	var entries []access.Entry
	a := example(func(_ context.Context, e access.Entry) { entries = append(entries, e) })
	const ct = "application/problem+json"
	for _, c := range []struct {
		method, path, body string
		scope              access.Scope
		status             int
		kind, says         string
	}{
		{"PUT", "/things/a", `{"name":"b"}`, access.Operate, 200, "application/json", `{"name":"a b"}`},
		{"PUT", "/things/a", `{"name":"b"}`, access.Read, 403, ct, "set-thing needs the scope operate"},
		{"PUT", "/things/a", `{"name":"b"}`, "", 401, ct, "does not know who asks"},
		{"PUT", "/things/a", `{"name":"broken"}`, access.Admin, 500, ct, "the disk is full"},
		{"PUT", "/things/a", `{"nme":"b"}`, access.Admin, 422, ct, "unexpected property"},
		{"PUT", "/things/a", `{"name":7}`, access.Admin, 422, ct, `"code":"invalid"`},
		{"PUT", "/things/a", `{"name"`, access.Admin, 400, ct, "body: "},
		{"PUT", "/things/a", ``, access.Admin, 400, ct, "required"},
		{"PUT", "/things/a?x=1", `{"name":"b"}`, access.Admin, 422, ct, "query.x: unknown"},
		{"DELETE", "/things/a", ``, access.Admin, 405, ct, "takes PUT, not DELETE"},
		{"GET", "/nothing", ``, access.Admin, 404, ct, "nothing at"},
		{"GET", "/nothing", ``, "", 401, ct, "does not know who asks"},
		{"POST", "/things/a/check", ``, access.Read, 200, stepsType, `{"done":2,"total":2}` + "\n" + `{"result":{"name":"a"}}`},
		{"POST", "/things/bad/check", ``, access.Read, 200, stepsType, `{"problem":{"status":409`},
		{"POST", "/things/none/check", ``, access.Read, 404, ct, `"hint":"look again"`},
		{"GET", "/things/a/events", ``, access.Read, 200, eventsType, "id: 2\ndata: {\"name\":\"a\"}\n\n"},
		{"GET", "/openapi.json", ``, access.Read, 200, "application/openapi+json", `"operationId": "set-thing"`},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, Prefix+c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
		if c.scope != "" {
			r = r.WithContext(access.With(r.Context(), access.Identity{Name: "ann", Scope: c.scope, How: access.HowToken}))
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || !strings.Contains(w.Body.String(), c.says) || len(w.Header().Get(HeaderRequest)) != 12 {
			t.Errorf("%s %s %s as %q: %d %s %s", c.method, c.path, c.body, c.scope, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, fmt.Sprint(e.Action, e.Target, " ", e.Status, " ", e.Detail, "|", e.Error))
	}
	want := []string{"set-thing/things/a 200 called b|", "set-thing/things/a 403 |set-thing needs the scope operate, and ann has read", "set-thing/things/a 500 called broken|the disk is full"}
	if got := strings.Join(lines, "\n"); !strings.HasPrefix(got, strings.Join(want, "\n")) || !strings.Contains(got, "check-thing/things/bad/check 409 |it is damaged") || strings.Contains(got, "follow") {
		t.Error(got)
	}
}

func TestEmbeddedNamesAreExported(t *testing.T) {
	type hidden struct {
		ID string `path:"id"`
	}
	defer func() {
		if recover() == nil {
			t.Error("a request whose path would stay empty was taken")
		}
	}()
	Act(New(Config{}), Operation{ID: "x", Method: http.MethodPost, Path: "/{id}"}, func(context.Context, *struct{ hidden }) error { return nil })
}
