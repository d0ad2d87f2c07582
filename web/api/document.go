package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"sort"
	"strings"
	"sync"
)

// Annotations are the part of the OpenAPI document that types and registrations
// cannot say by themselves. They are a file beside this one, which tests write: types
// and fields out of the comments of the source, by a test of cmd/castpoint, examples out of calls to a real server, by a test of package point.
type Annotations struct {
	// Types say what types are, Fields what their fields are, by the name of the
	// type with its package, as in castpoint/deploy.Device, and of the field in Go.
	Types  map[string]string            `json:"types"`
	Fields map[string]map[string]string `json:"fields"`
	// Examples are calls, by operation.
	Examples map[string]Example `json:"examples"`
}

// Example is a call of an operation, and its answer.
type Example struct {
	Path     string          `json:"path"`               // with its query, behind Prefix
	Type     string          `json:"type,omitempty"`     // of the request
	Request  json.RawMessage `json:"request,omitempty"`  // JSON; a string with the text of another type
	Response json.RawMessage `json:"response,omitempty"` // likewise
}

//go:embed annotations.json
var annotations []byte

// BuiltIn are the annotations that this program was built with.
var BuiltIn = sync.OnceValue(func() *Annotations {
	n := &Annotations{}
	if err := json.Unmarshal(annotations, n); err != nil {
		panic("api: annotations.json: " + err.Error())
	}
	return n
})

// Marshal is the file of annotations.
func (n *Annotations) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(n)
	return b.Bytes(), err
}

// TypeName is how annotations name a type; "" for one without a name of its own.
func TypeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, _, _ := strings.Cut(t.Name(), "[") // the parameters of a generic type
	if name == "" || t.PkgPath() == "" {
		return ""
	}
	return t.PkgPath() + "." + name
}

// Types are those that have a schema, by the schema's name.
func (a *API) Types() map[string]reflect.Type { return a.types }

// Document is the OpenAPI document, with keys in order, and a line for each thing
// that fits on one.
func (a *API) Document(n *Annotations) ([]byte, error) {
	compact, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(compact, &tree); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	schemas, _ := at(tree, "components", "schemas").(map[string]any)
	// The library's own form of errors, which never leaves this server.
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	for name, schema := range schemas {
		if t, ok := a.types[name]; ok {
			n.describe(schema.(map[string]any), t)
		}
	}
	paths, _ := tree["paths"].(map[string]any)
	for path, item := range paths {
		for method, o := range item.(map[string]any) {
			if o, ok := o.(map[string]any); ok {
				n.exemplify(o, strings.ToUpper(method), path)
			}
		}
	}
	var b bytes.Buffer
	if err := appendJSON(&b, tree, 0); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// at goes down into a tree; nil where there is nothing.
func at(tree any, keys ...string) any {
	for _, k := range keys {
		m, _ := tree.(map[string]any)
		tree = m[k]
	}
	return tree
}

// describe says what a type and its fields are, where their tags do not.
func (n *Annotations) describe(schema map[string]any, t reflect.Type) {
	if text := n.Types[TypeName(t)]; text != "" && schema["description"] == nil {
		schema["description"] = text
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, f := range Fields(t) {
		p, ok := properties[f.JSON].(map[string]any)
		if text := n.Fields[TypeName(f.In)][f.Go]; ok && text != "" && p["description"] == nil {
			p["description"] = text
		}
	}
}

// Field is a field of a type that is sent as JSON, or of one that it embeds.
type Field struct {
	JSON, Go string
	In       reflect.Type
}

// Fields are the fields of a struct as JSON has them.
func Fields(t reflect.Type) (list []Field) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			list = append(list, Fields(f.Type)...)
		case !f.IsExported() || name == "-":
		case name == "":
			list = append(list, Field{f.Name, f.Name, t})
		default:
			list = append(list, Field{name, f.Name, t})
		}
	}
	return list
}

// exemplify adds the example of an operation.
func (n *Annotations) exemplify(o map[string]any, method, path string) {
	id, _ := o["operationId"].(string)
	e, ok := n.Examples[id]
	if !ok {
		return
	}
	command := "curl"
	if method != http.MethodGet {
		command += " -X " + method
	}
	command += ` -H "Authorization: Bearer $TOKEN"`
	switch {
	case len(e.Request) > 0 && strings.HasSuffix(e.Type, "json"):
		command += " -H 'Content-Type: " + e.Type + "' -d @request.json"
	case e.Type != "":
		command += " -H 'Content-Type: " + e.Type + "' --data-binary @FILE"
	}
	o["x-codeSamples"] = []any{map[string]any{"lang": "shell", "source": command + ` "https://castpoint.example:8069` + Prefix + e.Path + `"`}}
	if body, ok := at(o, "requestBody", "content", e.Type).(map[string]any); ok && len(e.Request) > 0 {
		body["example"] = e.Request
	}
	responses, _ := o["responses"].(map[string]any)
	for status, r := range responses {
		content, _ := at(r, "content").(map[string]any)
		for _, media := range content {
			if m, ok := media.(map[string]any); ok && strings.HasPrefix(status, "2") && len(e.Response) > 0 {
				m["example"] = e.Response
			}
		}
	}
}

// lineLength is how long the lines of the document are, about.
const lineLength = 140

// appendJSON writes a value: on one line if it fits.
func appendJSON(b *bytes.Buffer, v any, depth int) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	text := bytes.TrimSpace(line.Bytes())
	indent := strings.Repeat(" ", depth+1)
	list := func(open, end byte, n int, each func(i int) error) error {
		b.WriteByte(open)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("\n" + indent)
			if err := each(i); err != nil {
				return err
			}
		}
		b.WriteString("\n" + indent[1:])
		b.WriteByte(end)
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		if len(text)+depth <= lineLength {
			break
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		return list('{', '}', len(keys), func(i int) error {
			name, _ := json.Marshal(keys[i]) // a string can always be encoded
			b.Write(append(name, ": "...))
			return appendJSON(b, v[keys[i]], depth+1)
		})
	case []any:
		if len(text)+depth <= lineLength {
			break
		}
		return list('[', ']', len(v), func(i int) error { return appendJSON(b, v[i], depth+1) })
	case json.RawMessage:
		var tree any
		if err := json.Unmarshal(v, &tree); err != nil {
			return err
		}
		return appendJSON(b, tree, depth)
	}
	b.Write(text)
	return nil
}
