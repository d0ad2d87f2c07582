package manual

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"castpoint/docs"
)

// Links between files become links between pages, wherever the page is.
func TestLinks(t *testing.T) {
	for _, l := range []struct{ page, link, want string }{
		{"dhcp", "booting.md", "/docs/booting"},
		{"dhcp", "booting.md#secure-boot", "/docs/booting#secure-boot"},
		{"architecture", "adr/0005-overlay.md", "/docs/adr/0005-overlay"},
		{"adr/0005-overlay", "../winpe.md", "/docs/winpe"},
		{"adr/README", "0005-overlay.md", "/docs/adr/0005-overlay"},
		{"dhcp", "https://example.com/x.md", "https://example.com/x.md"},
		{"dhcp", "#modes", "#modes"},
	} {
		html, err := markdown(l.page, []byte("[text]("+l.link+")"))
		if err != nil || !strings.Contains(string(html), `href="`+l.want+`"`) {
			t.Errorf("%s in %s: %s %v", l.link, l.page, html, err)
		}
	}
}

// HTML within a page is left out.
func TestMarkup(t *testing.T) {
	html, err := markdown("x", []byte("a <script>alert(1)</script> b\n\n<style>*{}</style>\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n"))
	if err != nil || strings.Contains(string(html), "<script") || strings.Contains(string(html), "<style") || strings.Contains(string(html), "style=") || !strings.Contains(string(html), "<table>") {
		t.Error(string(html), err)
	}
}

// A search finds the section, by any words that are in it; of a whole message the row
// that explains it.
func TestSearch(t *testing.T) {
	p := &Manual{pages: docs.Pages}
	chapters, err := p.chapters()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct{ search, path, passage string }{
		{"PXE-E53", "/docs/troubleshooting#the-machines-screen", "PXE-E53: no boot filename – an address came"},
		{"querier snooping", "/docs/operations#switches", "IGMP querier in each"},
		{"backup a server", "/docs/operations#backup", ""},
		{`castpoint: content win11: content is damaged: 3 objects`, "/docs/troubleshooting#on-the-server", "castpoint content repair"},
	} {
		found, _, err := p.search(chapters, s.search)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(found[:min(len(found), 5)], func(h hit) bool {
			return h.Path == s.path && strings.Contains(strings.Join(h.Passages, "\n"), s.passage)
		}) {
			t.Errorf("%q: %+v", s.search, found[:min(len(found), 5)])
		}
	}
	if found, _, err := p.search(chapters, "no page has zzyzx"); err != nil || len(found) > 0 {
		t.Error(found, err)
	}
	if found, more, err := p.search(chapters, "a"); err != nil || len(found) != shownHits || more == 0 {
		t.Error(len(found), more, err)
	}
}

// All links within the documentation lead to a page that is there, and to a heading of
// it.
func TestLinksLead(t *testing.T) {
	p := &Manual{pages: docs.Pages}
	chapters, err := p.chapters()
	if err != nil {
		t.Fatal(err)
	}
	html := map[string]string{}
	for _, c := range chapters {
		for _, d := range c.Docs {
			body, err := fs.ReadFile(docs.Pages, d.Name+".md")
			if err != nil {
				t.Fatal(err)
			}
			text, err := markdown(d.Name, body)
			if err != nil {
				t.Fatal(err)
			}
			html["/docs/"+d.Name] = string(text)
		}
	}
	links := 0
	for page, text := range html {
		for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, ":") || to == "/api/v1/openapi.json" {
				continue
			}
			links++
			if to == "" {
				to = page
			}
			if other, ok := html[to]; !ok || anchor != "" && !strings.Contains(other, `id="`+anchor+`"`) {
				t.Errorf("%s links to %s", page, m[1])
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found", links)
	}
}
