// Package manual has the pages of the documentation, of the version that runs.
package manual

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"castpoint/web/console/frame"
)

//go:embed templates
var templates embed.FS

// Manual are the pages.
type Manual struct {
	*frame.Frame
	pages fs.FS
}

// Add adds the pages *.md of a folder to a frame, and those of its folder adr.
func Add(f *frame.Frame, pages fs.FS) error {
	p := &Manual{f, pages}
	p.Page("GET /docs", p.index)
	p.Page("GET /docs/{name}", p.page)
	p.Page("GET /docs/adr/{name}", p.page)
	return p.Templates(templates, nil)
}

// doc is a page of the documentation.
type doc struct {
	Name, Title string // the name is its address below /docs/
}

// chapter is a part of the contents.
type chapter struct {
	Name string
	Docs []doc
}

// docData is what a page of the documentation shows.
type docData struct {
	Chapters []chapter
	Name     string
	HTML     template.HTML
	Search   string
	Found    []hit
	More     int // hits that are not shown
}

// docNames are the names of pages: they are parts of addresses.
var docNames = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// dirDecisions is the folder of the records of decisions.
const dirDecisions = "adr"

// The pages that people begin with, by what they are about. All others are about the
// inside.
var firstDocs = []struct {
	name  string
	pages []string
}{
	{"To begin with", []string{"getting-started", "troubleshooting", "operations", "doctor", "console", "threat-model", "coming-from-microsoft", "coming-from-fog"}},
	{"Machines", []string{"booting", "winpe", "dhcp", "tftp", "devices", "quirks"}},
	{"Images and deployments", []string{"content", "multicast", "deployments", "sequences", "steps"}},
	{"Programs", []string{"cli", "api", "metrics", "lab", "changelog"}},
}

// chapters lists the pages: those for operators first, then the others by name.
func (p *Manual) chapters() ([]chapter, error) {
	titles, err := p.titles("*.md", "")
	if err != nil {
		return nil, err
	}
	var all []chapter
	for _, part := range firstDocs {
		c := chapter{Name: part.name}
		for _, name := range part.pages {
			if i := slices.IndexFunc(titles, func(d doc) bool { return d.Name == name }); i >= 0 {
				c.Docs = append(c.Docs, titles[i])
				titles = slices.Delete(titles, i, i+1)
			}
		}
		if len(c.Docs) > 0 {
			all = append(all, c)
		}
	}
	if len(titles) > 0 {
		all = append(all, chapter{"The inside", titles})
	}
	decisions, err := p.titles(dirDecisions+"/*.md", dirDecisions+"/")
	if err == nil && len(decisions) > 0 {
		all = append(all, chapter{"Decisions", decisions})
	}
	return all, err
}

// titles are the pages of a pattern, by name.
func (p *Manual) titles(pattern, prefix string) (list []doc, err error) {
	files, err := fs.Glob(p.pages, pattern)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		body, err := fs.ReadFile(p.pages, file)
		if err != nil {
			return nil, err
		}
		one := doc{Name: prefix + strings.TrimSuffix(path.Base(file), ".md")}
		first, _, _ := strings.Cut(string(body), "\n")
		if one.Title = strings.TrimLeft(first, "# "); one.Title == "" {
			one.Title = one.Name
		}
		list = append(list, one)
	}
	return list, nil
}

func (p *Manual) index(r *http.Request) (*frame.Page, error) {
	chapters, err := p.chapters()
	if err != nil {
		return nil, err
	}
	d := docData{Chapters: chapters, Search: strings.TrimSpace(r.URL.Query().Get("search"))}
	if d.Search != "" {
		d.Found, d.More, err = p.search(chapters, d.Search)
	}
	return &frame.Page{Title: "Documentation", Nav: "/docs", Body: "docs", Data: &d}, err
}

func (p *Manual) page(r *http.Request) (*frame.Page, error) {
	name := strings.TrimSuffix(r.PathValue("name"), ".md")
	if !docNames.MatchString(name) {
		return nil, frame.NotFound("there is no page %q in the documentation", name)
	}
	if strings.HasPrefix(r.URL.Path, "/docs/"+dirDecisions+"/") {
		name = dirDecisions + "/" + name
	}
	body, err := fs.ReadFile(p.pages, name+".md")
	if err != nil {
		return nil, frame.NotFound("there is no page %q in the documentation", name)
	}
	html, err := markdown(name, body)
	if err != nil {
		return nil, fmt.Errorf("page %s of the documentation: %w", name, err)
	}
	d := docData{Name: name, HTML: html}
	if d.Chapters, err = p.chapters(); err != nil {
		return nil, err
	}
	title := name
	for _, c := range d.Chapters {
		for _, one := range c.Docs {
			if one.Name == name {
				title = one.Title
			}
		}
	}
	return &frame.Page{Title: title, Nav: "/docs", Body: "docs", Data: &d}, nil
}

// markdown makes a page of the documentation HTML. HTML within it is left out: the
// pages are ours, and need none.
func markdown(name string, source []byte) (template.HTML, error) {
	var b bytes.Buffer
	if err := language(name).Convert(source, &b); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil //nolint:gosec // our own pages, and HTML in them is left out
}

// language is the one that a page is written in.
func language(name string) goldmark.Markdown {
	return goldmark.New(
		// An attribute, because the content security policy allows no styles in a page.
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(docLinks{path.Dir(name)}, 100))),
	)
}

// docLinks makes links between the files links between the pages.
type docLinks struct{ dir string } // of the page

func (l docLinks) Transform(node *ast.Document, _ text.Reader, _ parser.Context) {
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		link, ok := n.(*ast.Link)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		to, anchor, _ := strings.Cut(string(link.Destination), "#")
		if to == "openapi.json" { // which the server gives itself
			link.Destination = []byte("/api/v1/openapi.json")
		}
		if path.Ext(to) != ".md" || strings.Contains(to, ":") {
			return ast.WalkContinue, nil
		}
		to = path.Join("/docs", l.dir, strings.TrimSuffix(to, ".md"))
		if anchor != "" {
			to += "#" + anchor
		}
		link.Destination = []byte(to)
		return ast.WalkContinue, nil
	})
}
