package sequence

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// SchemaID is the schema's name; editors find it by the first line of a template.
const SchemaID = "https://castpoint.invalid/sequence.schema.json"

// Schema is the format as JSON Schema (draft 2020-12), for editors. It is made of
// the types, so it says what Check says, but for what depends on other steps.
func Schema() ([]byte, error) {
	g := &generator{defs: make(map[string]any)}
	root := g.object(reflect.TypeFor[Sequence]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = SchemaID
	root["title"] = "castpoint task sequence"
	root["$defs"] = g.defs
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the schema: %w", err)
	}
	return append(b, '\n'), nil
}

type generator struct{ defs map[string]any }

// object is the schema of a struct.
func (g *generator) object(t reflect.Type) map[string]any {
	properties := make(map[string]any)
	var required []string
	eachField(t, func(f reflect.StructField) {
		one := g.value(f.Type, f.Tag.Get("enum"))
		if doc := f.Tag.Get("doc"); doc != "" {
			one["description"] = doc
		}
		properties[fieldName(f)] = one
		if !strings.Contains(f.Tag.Get("yaml"), ",omitempty") {
			required = append(required, fieldName(f))
		}
	})
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	if t == reflect.TypeFor[Step]() {
		var one []any
		for _, kind := range append(Kinds(), "steps") {
			one = append(one, map[string]any{"required": []string{kind}})
		}
		o["oneOf"] = one
	}
	return o
}

// ref is a struct's schema by its name.
func (g *generator) ref(t reflect.Type) map[string]any {
	name := t.Name()
	if _, ok := g.defs[name]; !ok {
		g.defs[name] = nil // it may be in itself, as steps are
		g.defs[name] = g.object(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (g *generator) value(t reflect.Type, enum string) map[string]any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text := map[string]any{"type": []string{"string", "number", "boolean"}}
	switch {
	case t == reflect.TypeFor[Condition]():
		one := map[string]any{"type": []string{"string", "boolean"}}
		return map[string]any{"oneOf": []any{one, map[string]any{"type": "array", "items": one}}}
	case t == reflect.TypeFor[Variable]():
		return map[string]any{"oneOf": []any{map[string]any{"type": []string{"string", "number", "boolean", "null"}}, g.ref(t)}}
	case t == reflect.TypeFor[Extent]():
		return map[string]any{"type": "string", "pattern": "^(rest|[0-9]+(\\.[0-9]+)? ?([KMGT]i?B|B|%))$"}
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return map[string]any{"type": "string", "pattern": "^([0-9.]+(ns|us|ms|s|m|h))+$"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return g.ref(t)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.value(t.Elem(), enum)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), "")}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	}
	if enum != "" {
		return map[string]any{"type": "string", "enum": slices.Collect(strings.SplitSeq(enum, ","))}
	}
	return text
}
