package sequence

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"reflect"
	"strings"
)

// Expand replaces ${NAME} in a text by the value of that variable, and ${NAME:-TEXT}
// by TEXT when it has none or is empty. $${ stands for ${ itself. A variable that
// has no value is an error that names it.
func Expand(text string, lookup func(name string) (string, bool)) (string, error) {
	var out strings.Builder
	err := expand(text, func(literal string) { out.WriteString(literal) }, func(name, instead string, hasInstead bool) error {
		value, ok := lookup(name)
		switch {
		case value != "":
		case hasInstead:
			value = instead
		case !ok:
			return fmt.Errorf("%w: %q: variable %s has no value", ErrInvalid, text, name)
		}
		out.WriteString(value)
		return nil
	})
	return out.String(), err
}

// references calls f for each variable that a text names; needed: no other text
// stands in for it.
func references(text string, f func(name string, needed bool)) error {
	return expand(text, func(string) {}, func(name, _ string, hasInstead bool) error {
		f(name, !hasInstead)
		return nil
	})
}

func expand(text string, literal func(string), variable func(name, instead string, hasInstead bool) error) error {
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			literal(text)
			return nil
		}
		if i > 0 && text[i-1] == '$' {
			literal(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		literal(text[:i])
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return fmt.Errorf("%w: %q: ${ has no } (write $${ for the characters themselves)", ErrInvalid, text)
		}
		name, instead, has := strings.Cut(text[i+2:i+end], ":-")
		if !variableName.MatchString(strings.TrimPrefix(name, "_")) {
			return fmt.Errorf("%w: %q: %q is no name of a variable (write $${ for the characters themselves)", ErrInvalid, text, name)
		}
		if err := variable(name, instead, has); err != nil {
			return err
		}
		text = text[i+end+1:]
	}
}

// ExpandAction is a copy of a leaf's action with the variables in its texts
// replaced. Scripts, expressions and names of variables are left as they are.
func ExpandAction(action Action, lookup func(name string) (string, bool)) (Action, error) {
	data, err := json.Marshal(action)
	if err != nil {
		return nil, fmt.Errorf("copy a step: %w", err)
	}
	c := reflect.New(reflect.TypeOf(action).Elem()).Interface().(Action)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("copy a step: %w", err)
	}
	return c, texts(reflect.ValueOf(c), "", func(field, format, text string) (string, error) {
		take := lookup
		if format == formatXML {
			take = func(name string) (string, bool) {
				value, ok := lookup(name)
				return escapeXML(value), ok
			}
		}
		value, err := Expand(text, take)
		if err != nil {
			return "", fmt.Errorf("%s: %w", field, err)
		}
		return value, nil
	})
}

// formatXML is the tag of texts that are XML: values are written in them so that they
// are read as they are.
const formatXML = "xml"

// escapeXML writes a text so that XML has it between two tags, or in quotes.
func escapeXML(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes all
	return b.String()
}

// texts replaces each text below v in which variables count by f of it. format is
// formatXML or "".
func texts(v reflect.Value, field string, f func(field, format, text string) (string, error)) error {
	return formatted(v, field, "", f)
}

func formatted(v reflect.Value, field, format string, f func(field, format, text string) (string, error)) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return formatted(v.Elem(), field, format, f)
	case reflect.Struct:
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			name := fieldName(sf)
			if sf.Anonymous {
				name = field
			}
			// Sizes and times have no names in YAML within them.
			if name == "" && !sf.Anonymous || sf.Tag.Get("enum") != "" || sf.Tag.Get("raw") != "" {
				continue
			}
			if err := formatted(v.Field(i), name, sf.Tag.Get("format"), f); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[Condition]() {
			return nil
		}
		for i := range v.Len() {
			if err := formatted(v.Index(i), field, format, f); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value, err := f(field+" "+key.String(), format, v.MapIndex(key).String())
			if err != nil {
				return err
			}
			v.SetMapIndex(key, reflect.ValueOf(value))
		}
	case reflect.String:
		value, err := f(field, format, v.String())
		if err != nil {
			return err
		}
		v.SetString(value)
	}
	return nil
}
