package condition

import (
	"reflect"
	"slices"
	"strings"
)

// kind is what an expression's value can be.
type kind int

const (
	boolean kind = iota
	integer
	decimal
	text
	list   // of elements of one type
	record // a struct
	dict   // texts by names
	call   // a function of the scope
)

// typ is the type of an expression.
type typ struct {
	kind    kind
	element *typ         // of a list; nil for an empty one
	of      reflect.Type // a record's, a function's
}

func (t typ) String() string {
	switch t.kind {
	case boolean:
		return "true or false"
	case integer, decimal:
		return "a number"
	case text:
		return "a text"
	case list:
		return "a list"
	case record:
		return "a group of names (" + strings.Join(names(t.of), ", ") + ")"
	case dict:
		return "a table of texts"
	default:
		return "a function, which wants its arguments in brackets"
	}
}

func (t typ) number() bool { return t.kind == integer || t.kind == decimal }

// comparable says whether two values can be equal.
func (t typ) comparable(other typ) bool {
	if t.number() {
		return other.number()
	}
	return t.kind == other.kind && (t.kind == boolean || t.kind == text)
}

// same says whether two branches give the same.
func (t typ) same(other typ) bool {
	if t.kind != other.kind || t.of != other.of {
		return false
	}
	return t.element == other.element || t.element != nil && other.element != nil && t.element.same(*other.element)
}

// The functions that a scope may have.
type (
	tests  = func(string) bool
	asks   = func(string) (bool, error)
	relate = func(string, string) bool
)

// typeOf is the type of a field; false for one that expressions cannot use.
func typeOf(t reflect.Type) (typ, bool) {
	switch t.Kind() {
	case reflect.Bool:
		return typ{kind: boolean}, true
	case reflect.Int:
		return typ{kind: integer}, true
	case reflect.Float64:
		return typ{kind: decimal}, true
	case reflect.String:
		return typ{kind: text}, true
	case reflect.Slice:
		element, ok := typeOf(t.Elem())
		return typ{kind: list, element: &element}, ok
	case reflect.Struct:
		return typ{kind: record, of: t}, true
	case reflect.Map:
		return typ{kind: dict}, t == reflect.TypeFor[map[string]string]()
	case reflect.Func:
		known := []reflect.Type{reflect.TypeFor[tests](), reflect.TypeFor[asks](), reflect.TypeFor[relate]()}
		return typ{kind: call, of: t}, slices.Contains(known, t)
	default:
		return typ{}, false
	}
}

// value takes a field's value out of reflection, as far as eval's values are.
func value(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.Int:
		return int(v.Int())
	case reflect.Float64:
		return v.Float()
	case reflect.String:
		return v.String()
	default:
		return v
	}
}

// field finds a field by its tag.
func field(t reflect.Type, name string) (int, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("expr") == name {
			return i, true
		}
	}
	return 0, false
}

// names are those that expressions can use of a struct.
func names(t reflect.Type) (all []string) {
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("expr"); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// length and element go through both kinds of lists.
func length(v any) int {
	if l, ok := v.([]any); ok {
		return len(l)
	}
	return v.(reflect.Value).Len()
}

func element(v any, i int) any {
	if l, ok := v.([]any); ok {
		return l[i]
	}
	return value(v.(reflect.Value).Index(i))
}

// float is a number as one that has decimals.
func float(v any) float64 {
	if i, ok := v.(int); ok {
		return float64(i)
	}
	return v.(float64)
}

// equal compares values of types that are comparable.
func equal(a, b any) bool {
	if i, ok := a.(int); ok {
		if j, ok := b.(int); ok {
			return i == j
		}
		return float64(i) == b.(float64)
	}
	if f, ok := a.(float64); ok {
		return f == float(b)
	}
	return a == b
}
