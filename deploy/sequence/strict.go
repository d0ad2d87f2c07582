package sequence

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// strict compares YAML with the types it is going to be read into.
type strict struct{ problems []Problem }

func (st *strict) say(node *yaml.Node, format string, args ...any) {
	st.problems = append(st.problems, Problem{Line: node.Line, Text: fmt.Sprintf(format, args...)})
}

// value checks one value. in is what it is a part of, for people.
func (st *strict) value(node *yaml.Node, t reflect.Type, field reflect.StructField, in string, depth int) {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		st.say(node, "%s: anchors and aliases (& and *) are not used in sequences", in)
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	null := node.Kind == yaml.ScalarNode && node.Tag == "!!null"
	if t == reflect.TypeFor[Condition]() || t == reflect.TypeFor[Variable]() && node.Kind == yaml.ScalarNode {
		return // they read themselves
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if node.Kind != yaml.ScalarNode {
			st.say(node, "%s: want a text, not %s", in, kindName(node))
		} else if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(node.Value)); err != nil {
			st.say(node, "%s: %s", in, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if null { // an action without fields: "wipe-disk:"
			node.Kind, node.Tag, node.Value = yaml.MappingNode, "!!map", ""
		}
		st.fields(node, t, in, depth)
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			st.say(node, "%s: want a list, not %s", in, kindName(node))
			return
		}
		for _, one := range node.Content {
			st.value(one, t.Elem(), field, in, depth+1)
		}
	case reflect.Map:
		if node.Kind != yaml.MappingNode {
			st.say(node, "%s: want names with values, not %s", in, kindName(node))
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			st.twice(node, i, in)
			st.value(node.Content[i+1], t.Elem(), reflect.StructField{}, in+": "+node.Content[i].Value, depth+1)
		}
	default:
		st.scalar(node, t, field, in)
	}
}

// scalar checks texts, numbers and booleans.
func (st *strict) scalar(node *yaml.Node, t reflect.Type, field reflect.StructField, in string) {
	if node.Kind != yaml.ScalarNode {
		st.say(node, "%s: want a single value, not %s", in, kindName(node))
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		if node.Tag != "!!bool" {
			st.say(node, "%s: %q: want true or false", in, node.Value)
		}
	case reflect.Int:
		if node.Tag != "!!int" {
			st.say(node, "%s: %q: want a whole number", in, node.Value)
		}
	case reflect.String:
		allowed := field.Tag.Get("enum")
		if list := strings.Split(allowed, ","); allowed != "" && node.Tag != "!!null" && !slices.Contains(list, node.Value) {
			st.say(node, "%s: %q is none of %s%s", in, node.Value, strings.Join(list, ", "), nearest(node.Value, list))
		}
	}
}

// fields checks the names of a mapping and what is below them.
func (st *strict) fields(node *yaml.Node, t reflect.Type, in string, depth int) {
	if node.Kind != yaml.MappingNode {
		st.say(node, "%s: want fields with values, not %s", in, kindName(node))
		return
	}
	if depth > 2*maxDepth {
		st.say(node, "%s: groups are nested more than %d deep", in, maxDepth)
		return
	}
	known := make(map[string]reflect.StructField)
	var names []string
	eachField(t, func(f reflect.StructField) {
		known[fieldName(f)] = f
		names = append(names, fieldName(f))
	})
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		st.twice(node, i, in)
		f, ok := known[key.Value]
		switch {
		case ok:
			inner := key.Value
			if t != reflect.TypeFor[Step]() && t != reflect.TypeFor[Sequence]() {
				inner = in + ": " + key.Value
			}
			st.value(node.Content[i+1], f.Type, f, inner, depth+1)
		case t == reflect.TypeFor[Step]():
			st.say(key, "%q is neither an action nor a field of a step%s", key.Value, nearest(key.Value, names))
		default:
			st.say(key, "%s has no field %q%s", in, key.Value, nearest(key.Value, names))
		}
	}
}

// twice refuses a name that stands there for the second time.
func (st *strict) twice(node *yaml.Node, i int, in string) {
	for j := 0; j < i; j += 2 {
		if node.Content[j].Value == node.Content[i].Value {
			st.say(node.Content[i], "%s: %q is there already, in line %d", in, node.Content[i].Value, node.Content[j].Line)
			return
		}
	}
}

// eachField calls f for the fields of a type and of those that are inlined.
func eachField(t reflect.Type, f func(reflect.StructField)) {
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Anonymous {
			eachField(sf.Type, f)
		} else if fieldName(sf) != "" {
			f(sf)
		}
	}
}

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", node.Value)
}

// nearest is a hint at the known name that is most like a wrong one.
func nearest(wrong string, known []string) string {
	best, distance := "", len(wrong)/2+2
	for _, name := range known {
		if d := editDistance(strings.ToLower(wrong), name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// editDistance is how many letters have to be changed, added or taken away to make
// b of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
