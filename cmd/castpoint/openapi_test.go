package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"castpoint/test/openapi"
	"castpoint/web/api"
)

const (
	fileAnnotations = "../../web/api/annotations.json"
	fileOpenAPI     = "../../docs/openapi.json"
)

// comments are what the source says of types and their fields.
type comments struct {
	types  map[string]string
	fields map[string]map[string]string
}

// oneLine is a comment without its line breaks.
func oneLine(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			return text
		}
	}
	return ""
}

// read adds the comments of a package.
func (c *comments) read(t *testing.T, pkg string) {
	t.Helper()
	dir := filepath.Join("..", "..", strings.TrimPrefix(pkg, "castpoint"))
	files := token.NewFileSet()
	notTests := func(i fs.FileInfo) bool { return !strings.HasSuffix(i.Name(), "_test.go") }
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || !strings.HasSuffix(e.Name(), ".go") || !notTests(info) {
			continue
		}
		f, err := parser.ParseFile(files, filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				s := spec.(*ast.TypeSpec)
				doc := s.Doc
				if doc == nil {
					doc = g.Doc
				}
				name := pkg + "." + s.Name.Name
				c.types[name] = oneLine(doc)
				if st, ok := s.Type.(*ast.StructType); ok {
					c.fields[name] = map[string]string{}
					for _, field := range st.Fields.List {
						for _, n := range field.Names {
							c.fields[name][n.Name] = oneLine(field.Doc, field.Comment)
						}
					}
				}
			}
		}
	}
}

// fromSource makes the annotations of types and fields that the document needs.
func fromSource(t *testing.T, a *api.API) *api.Annotations {
	t.Helper()
	c := comments{map[string]string{}, map[string]map[string]string{}}
	read := map[string]bool{}
	n := &api.Annotations{Types: map[string]string{}, Fields: map[string]map[string]string{}}
	words := map[string]string{}
	text, err := os.ReadFile("../../web/api/fields.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &words)
	}
	if err != nil {
		t.Fatal(err)
	}
	unused := maps.Clone(words)
	look := func(typ reflect.Type) string {
		name := api.TypeName(typ)
		pkg := name[:max(0, strings.LastIndex(name, "."))]
		if !read[pkg] && strings.HasPrefix(pkg, "castpoint/") {
			read[pkg] = true
			c.read(t, pkg)
		}
		return name
	}
	types := a.Types()
	for _, schema := range slices.Sorted(maps.Keys(types)) {
		typ := types[schema]
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if text := c.types[look(typ)]; text != "" {
			n.Types[api.TypeName(typ)] = text
		}
		for _, f := range api.Fields(typ) {
			name := look(f.In)
			field, _ := f.In.FieldByName(f.Go)
			if field.Tag.Get("doc") != "" {
				continue
			}
			text := c.fields[name][f.Go]
			for _, key := range []string{schema + "." + f.JSON, f.In.Name() + "." + f.JSON, f.JSON} {
				if text == "" {
					text = words[key]
					delete(unused, key)
				}
			}
			if text != "" {
				if n.Fields[name] == nil {
					n.Fields[name] = map[string]string{}
				}
				n.Fields[name][f.Go] = text
			}
		}
	}
	for key := range unused {
		t.Errorf("web/api/fields.yaml: %s is no field, or one that has a comment", key)
	}
	return n
}

// TestOpenAPI: the document in the repository is that of the code, and of the
// comments in it.
func TestOpenAPI(t *testing.T) {
	a := operations()
	n := fromSource(t, a)
	n.Examples = api.BuiltIn().Examples
	text, err := n.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, fileAnnotations, text)
	document, err := a.Document(n)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, fileOpenAPI, document)
}

func compare(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not that of the code; run go test ./cmd/castpoint -run TestOpenAPI -update", path)
	}
}

// measured are names of numbers that mean nothing without a unit.
var (
	measured = regexp.MustCompile(`(^|_)(size|bytes|rate|ttl|seconds|delay|open|memory|mhz|speed|done|total_bytes|took|percent|loss|backlog|starts_in)($|_)`)
	unit     = regexp.MustCompile(`(?i)\b(bytes?|seconds?|bits? per second|blocks?|devices?|percent|shares?|MHz|MiB|symbols?|events?|steps?|in the whole list|Mbit/s|0 to 1)\b`)
)

// TestOpenAPISaysWhatThingsAre: every operation, parameter and field is described, with
// its unit where it needs one, and every operation has an example.
func TestOpenAPISaysWhatThingsAre(t *testing.T) {
	d, all := openapi.Read(t, fileOpenAPI)
	number := func(s *openapi.Schema) bool { return s.Type == "integer" || s.Type == "number" }
	for id, o := range all {
		if o.Summary == "" || strings.HasSuffix(o.Summary, ".") || len(o.Description) < 30+len("Needs the scope") || !strings.Contains(o.Description, "Needs the scope "+o.Scope) || o.Scope == "" {
			t.Errorf("%s: %q %q %q", id, o.Summary, o.Description, o.Scope)
		}
		if len(o.Samples) != 1 || !strings.Contains(o.Samples[0].Source, "curl ") {
			t.Errorf("%s has no example: go test ./point -run TestAPI -update writes one", id)
		}
		for _, p := range o.Parameters {
			if p.Description == "" || number(&p.Schema) && measured.MatchString(p.Name) && !unit.MatchString(p.Description) {
				t.Errorf("%s: parameter %s: %q", id, p.Name, p.Description)
			}
		}
		if o.RequestBody != nil {
			for kind, c := range o.RequestBody.Content {
				if len(c.Example) == 0 && kind != "application/octet-stream" {
					t.Errorf("%s: the request (%s) has no example", id, kind)
				}
			}
		}
		for status, r := range o.Responses {
			for kind, c := range r.Content {
				if strings.HasPrefix(status, "2") && len(c.Example) == 0 && kind != "application/octet-stream" {
					t.Errorf("%s: the answer (%s) has no example", id, kind)
				}
			}
		}
	}
	for name, s := range d.Components.Schemas {
		if s.Description == "" && len(s.Properties) > 0 && !strings.HasPrefix(name, "Page") && !strings.HasSuffix(name, "Body") && !strings.HasSuffix(name, "Request") {
			t.Errorf("schema %s is not described", name)
		}
		for field, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("schema %s: field %s is not described: write a comment behind it in the source", name, field)
			} else if number(p) && measured.MatchString(field) && !unit.MatchString(p.Description) {
				t.Errorf("schema %s: field %s: in which unit is %q?", name, field, p.Description)
			}
		}
	}
}
