package console

import (
	"bytes"
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
)

// doc is a page of the documentation.
type doc struct {
	Name, Title string
}

// docData is what a page of the documentation shows.
type docData struct {
	All  []doc
	Name string
	HTML template.HTML
}

// docNames are the names of pages: they are parts of addresses.
var docNames = regexp.MustCompile(`^[a-z0-9-]+$`)

// firstDocs are the pages that people begin with.
var firstDocs = []string{"operations", "console", "booting", "winpe", "devices", "content", "dhcp", "cli", "doctor"}

// docs lists the pages: those for operators first, then by name.
func (c *Console) docs() ([]doc, error) {
	list, err := fs.Glob(c.cfg.Docs, "*.md")
	if err != nil {
		return nil, err
	}
	var all []doc
	for _, file := range list {
		body, err := fs.ReadFile(c.cfg.Docs, file)
		if err != nil {
			return nil, err
		}
		one := doc{Name: strings.TrimSuffix(file, ".md")}
		first, _, _ := strings.Cut(string(body), "\n")
		if one.Title = strings.TrimLeft(first, "# "); one.Title == "" {
			one.Title = one.Name
		}
		all = append(all, one)
	}
	rank := func(d doc) int {
		if i := slices.Index(firstDocs, d.Name); i >= 0 {
			return i
		}
		return len(firstDocs)
	}
	slices.SortStableFunc(all, func(a, b doc) int { return rank(a) - rank(b) })
	return all, nil
}

func (c *Console) docsIndex(*http.Request) (*page, error) {
	all, err := c.docs()
	return &page{title: "Documentation", nav: "/docs", body: "docs", data: &docData{All: all}}, err
}

func (c *Console) docsPage(r *http.Request) (*page, error) {
	name := strings.TrimSuffix(r.PathValue("name"), ".md")
	if !docNames.MatchString(name) {
		return nil, notFound("there is no page %q in the documentation", name)
	}
	body, err := fs.ReadFile(c.cfg.Docs, name+".md")
	if err != nil {
		return nil, notFound("there is no page %q in the documentation", name)
	}
	html, err := markdown(body)
	if err != nil {
		return nil, fmt.Errorf("page %s of the documentation: %w", name, err)
	}
	all, err := c.docs()
	if err != nil {
		return nil, err
	}
	d := docData{All: all, Name: name, HTML: html}
	for _, one := range all {
		if one.Name == name {
			return &page{title: one.Title, nav: "/docs", body: "docs", data: &d}, nil
		}
	}
	return &page{title: name, nav: "/docs", body: "docs", data: &d}, nil
}

// markdown makes a page of the documentation HTML. HTML within it is left out: the
// pages are ours, and need none.
func markdown(source []byte) (template.HTML, error) {
	m := goldmark.New(
		// An attribute, because the content security policy allows no styles in a page.
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(docLinks{}, 100))),
	)
	var b bytes.Buffer
	if err := m.Convert(source, &b); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}

// docLinks makes links between the files links between the pages.
type docLinks struct{}

func (docLinks) Transform(node *ast.Document, _ text.Reader, _ parser.Context) {
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		l, ok := n.(*ast.Link)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		to, anchor, _ := strings.Cut(string(l.Destination), "#")
		if path.Ext(to) != ".md" || strings.Contains(to, "/") {
			return ast.WalkContinue, nil
		}
		to = "/docs/" + strings.TrimSuffix(to, ".md")
		if anchor != "" {
			to += "#" + anchor
		}
		l.Destination = []byte(to)
		return ast.WalkContinue, nil
	})
}
