// Package openapi reads the OpenAPI document of the admin API as tests look at it, and
// holds values against its schemas with a validator that is not castpoint's.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is the part of the document that tests look at.
type Document struct {
	Paths      map[string]map[string]*Operation
	Components struct {
		Schemas map[string]*Schema
	}
}

// Schema is the part of a schema that tests look at.
type Schema struct {
	Ref         string `json:"$ref"`
	Type        any
	Description string
	Properties  map[string]*Schema
	Items       *Schema
}

// Media is a body of one media type.
type Media struct {
	Schema  json.RawMessage
	Example json.RawMessage
}

// Operation is one operation of the API.
type Operation struct {
	ID          string `json:"operationId"`
	Scope       string `json:"x-castpoint-scope"`
	Audited     bool   `json:"x-castpoint-audited"`
	Summary     string
	Description string
	Samples     []struct{ Source string } `json:"x-codeSamples"`
	Event       json.RawMessage           `json:"x-castpoint-event"`
	Result      json.RawMessage           `json:"x-castpoint-result"`
	Parameters  []struct {
		Name, In, Description string
		Schema                Schema
	}
	RequestBody *struct{ Content map[string]Media }
	Responses   map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]Media
	}

	Method string `json:"-"`
	Path   string `json:"-"` // as the document has it, with its parameters
}

// Takes is the media type of an operation's requests; "" when they have no body.
func (o *Operation) Takes() string {
	if o.RequestBody != nil {
		for kind := range o.RequestBody.Content {
			return kind
		}
	}
	return ""
}

// Streams says whether the answer is a stream of server-sent events.
func (o *Operation) Streams() bool { return len(o.Event) > 0 }

// Has says whether a path is one of the operation.
func (o *Operation) Has(path string) bool {
	want, have := strings.Split(o.Path, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

// Read reads the document of a file, and gives its operations by their ids.
func Read(t *testing.T, file string) (*Document, map[string]*Operation) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, all, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d, all
}

// Parse reads a document.
func Parse(text []byte) (*Document, map[string]*Operation, error) {
	d := &Document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, nil, err
	}
	all := map[string]*Operation{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			o.Method, o.Path = strings.ToUpper(method), path
			if all[o.ID] != nil || o.ID == "" {
				return nil, nil, fmt.Errorf("two operations are called %q", o.ID)
			}
			all[o.ID] = o
		}
	}
	return d, all, nil
}

// Validator holds values against schemas of a document.
type Validator struct {
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

const resource = "file:///openapi.json"

// NewValidator reads the document of a file.
func NewValidator(file string) (*Validator, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	v := &Validator{jsonschema.NewCompiler(), map[string]*jsonschema.Schema{}}
	v.compiler.AssertFormat()
	return v, v.compiler.AddResource(resource, document)
}

// Check holds a JSON text against the schema at a place of the document.
func (v *Validator) Check(text []byte, place ...string) error {
	var at strings.Builder
	for _, key := range place {
		at.WriteString("/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key)))
	}
	s := v.schemas[at.String()]
	if s == nil {
		var err error
		if s, err = v.compiler.Compile(resource + "#" + at.String()); err != nil {
			return err
		}
		v.schemas[at.String()] = s
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = s.Validate(value)
	}
	return err
}
