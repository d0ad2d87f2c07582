package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"castpoint/docs"
	"castpoint/web/session"
)

// formPaths are those of all forms, as the pages add them; parameters stand as x.
func formPaths(t testing.TB) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`\.(?:Action|Ask|Handle)\("POST ([^"]+)"`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(b), -1) {
			all = append(all, m[1])
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d forms were found", len(all))
	}
	slices.Sort(all)
	return all
}

// FuzzForms: whatever a form or a query brings, the console answers, shows it as text,
// and leads nowhere but to its own pages.
func FuzzForms(f *testing.F) {
	paths := formPaths(f)
	at := func(path string) uint8 { return uint8(slices.Index(paths, path)) }
	f.Add(at("/devices"), "d00001", "name=pc&macs=52:54:00:00:00:01&groups=a+b", "")
	f.Add(at("/devices/chosen"), "", "do=assign&id=d00001&id=d00002&collection=col1&image=win11", "state=waiting&search=%3Cscript%3E")
	f.Add(at("/devices/import"), "", "table=name%2Cmac%0Ax%2Czz", "")
	f.Add(at("/devices/{id}/variables"), "d00001", "variables=A%3Db%0AC", "")
	f.Add(at("/collections/{id}/rules/remove"), "col1", "rule=-1&changed=x&back=//example.com/", "")
	f.Add(at("/deployments"), "", "name=%3Cscript%3E&sequence=bare-metal&collection=col1&purpose=required&start=2026-13-40", "collection=col1")
	f.Add(at("/sequences"), "", "do=keep&name=x&text=%26a+%5B*a%5D", "template=windows")
	f.Add(at("/sessions"), "", "content=win11&members=-1&after=9999h", "order=name")
	f.Add(at("/jobs/{id}/cancel"), "../..", "sure=1&back=https:evil", "")
	f.Add(at("/contents/upload"), "", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../a\"\r\n\r\nx\r\n--x--\r\n", "")
	api := fullAPI(3, 3)
	c, err := New(Config{API: api, Docs: docs.Pages, Sessions: func() []session.Info { return nil },
		Person: func(*http.Request) (Person, bool) { return Person{Name: "ada", Admin: true, Operate: true}, true }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	f.Fuzz(func(t *testing.T, at uint8, id, form, query string) {
		if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return // net/http refuses such a request
		}
		api.mu.Lock()
		api.did, api.took = nil, nil
		api.mu.Unlock()
		path := paths[int(at)%len(paths)]
		path = regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(path, url.PathEscape(id))
		post := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasSuffix(path, "/upload") {
			post.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		}
		page := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, r := range []*http.Request{post, page} {
			if u, err := url.Parse(path); err == nil {
				r.URL = u
			}
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			if w.Code >= http.StatusInternalServerError {
				t.Fatalf("%s %s: status %d: %s", r.Method, path, w.Code, w.Body)
			}
			// Requests may have a # in their query, and browsers take any fragment.
			location, _, _ := strings.Cut(w.Header().Get("Location"), "#")
			to, err := url.Parse(location)
			if err != nil || to.Scheme != "" || to.Host != "" || strings.HasPrefix(to.Path, "//") || strings.ContainsAny(w.Header().Get("Location"), "\\\r\n") {
				t.Fatalf("%s %s leads to %q", r.Method, path, w.Header().Get("Location"))
			}
			if strings.Contains(strings.ToLower(w.Body.String()), "<script>") {
				t.Fatalf("%s %s: what was sent became a part of the page", r.Method, path)
			}
		}
	})
}
