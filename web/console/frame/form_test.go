package frame

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func form(t *testing.T, text string) *Form {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := r.ParseForm(); err != nil {
		t.Fatal(err)
	}
	return Read(r)
}

func TestForm(t *testing.T) {
	f := form(t, "name=+pc-17+&empty=&list=a,+b%0Ac&n=+12&on-shown=1&on=on&off-shown=1&at=2026-11-30T22:00&never=")
	if f.Text("name") != "pc-17" || *f.Set("empty") != "" || f.Set("missing") != nil {
		t.Error("texts")
	}
	if !slices.Equal(*f.List("list"), []string{"a", "b", "c"}) || len(*f.List("empty")) != 0 || f.List("missing") != nil {
		t.Error("lists")
	}
	if *f.Number("n", "number") != 12 || f.Number("empty", "number") != nil || f.Number("missing", "number") != nil {
		t.Error("numbers")
	}
	if !*f.Box("on") || *f.Box("off") || f.Box("missing") != nil {
		t.Error("boxes")
	}
	if want := time.Date(2026, 11, 30, 22, 0, 0, 0, time.Local); !f.Time("at", "start").Equal(want) || !f.Time("never", "start").IsZero() || f.Time("missing", "start") != nil {
		t.Error("times")
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
	f = form(t, "n=many&at=soon")
	f.Number("n", "number of members")
	f.Time("at", "start")
	if err := f.Err(); err == nil || !strings.Contains(err.Error(), `number of members "many"`) { // the first
		t.Error(err)
	}
}

func TestVariables(t *testing.T) {
	f := form(t, "var.Owner=anna&var.Room=101&drop.Room=1&var-name=Site&var-value=+north+")
	got := map[string]string{}
	for name, value := range f.Variables() {
		got[name] = "-"
		if value != nil {
			got[name] = *value
		}
	}
	if fmt.Sprint(got) != "map[Owner:anna Room:- Site: north ]" || f.Err() != nil {
		t.Error(got, f.Err())
	}
	f = form(t, "var-value=x")
	if f.Variables(); f.Err() == nil {
		t.Error("a value without a name is lost")
	}
}

func TestCut(t *testing.T) {
	var all []int
	for i := range 25 {
		all = append(all, i)
	}
	for query, want := range map[string]string{
		"":              "1 to 10 of 25, [0 1 2 3 4 5 6 7 8 9], before , behind /x?page=2",
		"page=2&sort=n": "11 to 20 of 25, [10 11 12 13 14 15 16 17 18 19], before /x?page=1&sort=n, behind /x?page=3&sort=n",
		"page=3":        "21 to 25 of 25, [20 21 22 23 24], before /x?page=2, behind ",
		"page=99":       "21 to 25 of 25, [20 21 22 23 24], before /x?page=2, behind ", // the list has become shorter
		"page=-1":       "1 to 10 of 25, [0 1 2 3 4 5 6 7 8 9], before , behind /x?page=2",
	} {
		p := Cut(httptest.NewRequest(http.MethodGet, "/x?"+query, nil), all, 10)
		if got := fmt.Sprintf("%d to %d of %d, %v, before %s, behind %s", p.First, p.Last, p.Total, p.Items, p.Prev, p.Next); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if p := Cut(httptest.NewRequest(http.MethodGet, "/x", nil), all[:0], 10); p.Total != 0 || len(p.Items) != 0 || p.Next != "" {
		t.Errorf("%+v", p)
	}
}

// A page leads back to where it came from, and to no other server.
func TestBack(t *testing.T) {
	for referer, want := range map[string]string{
		"http://example.com/devices?state=waiting": "/devices?state=waiting", "http://evil.example/devices": "/", "": "/", "http://example.com//evil.example/": "/", ":": "/",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Referer", referer)
		if got := from(r); got != want {
			t.Errorf("%q: %q, want %q", referer, got, want)
		}
	}
	for field, want := range map[string]string{"/devices": "/devices", "//evil.example": "/other", `/\evil.example`: "/other", "https://evil.example": "/other", "": "/other"} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(url.Values{"back": {field}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if got := Back(r, "/other"); got != want {
			t.Errorf("%q: %q, want %q", field, got, want)
		}
	}
}
