package manual

import (
	"strings"
	"testing"
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
