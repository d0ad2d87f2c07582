package sequence

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"castpoint/internal/yamltext"
)

// Limits of a file.
const (
	MaxFile  = 1 << 20 // bytes
	maxDepth = 16      // groups within groups
	maxSteps = 1000
)

// Problem is something that is wrong with a sequence, or may be.
type Problem struct {
	Line    int    `json:"line"` // 0 when it is about no certain line
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"` // the sequence can be used
}

// String is the problem with its line.
func (p Problem) String() string {
	s := p.Text
	if p.Warning {
		s = "warning: " + s
	}
	if p.Line > 0 {
		return fmt.Sprintf("line %d: %s", p.Line, s)
	}
	return s
}

// Parse reads a sequence and checks it. Errors are ErrInvalid and name all lines
// that are wrong.
func Parse(data []byte) (*Sequence, error) {
	s, problems := Check(data)
	var errs []error
	for _, p := range problems {
		if !p.Warning {
			errs = append(errs, errors.New(p.String()))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, errors.Join(errs...))
	}
	return s, nil
}

// position is where a step stands in its file.
type position struct{ node *yaml.Node }

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Step) UnmarshalYAML(node *yaml.Node) error {
	type plain Step
	s.at = position{node}
	return node.Decode((*plain)(s))
}

// UnmarshalYAML implements yaml.Unmarshaler: a bare text is the value.
func (v *Variable) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*v = Variable{}
		if node.Tag != "!!null" {
			v.Value = node.Value
		}
		return nil
	}
	type plain Variable
	return node.Decode((*plain)(v))
}

// decode reads the YAML and refuses what the format does not have.
func decode(data []byte) (*Sequence, *yaml.Node, []Problem) {
	if len(data) > MaxFile {
		return nil, nil, []Problem{{Text: fmt.Sprintf("the file has %d bytes, at most %d are read", len(data), MaxFile)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		line, says := yamltext.Explain(err, data)
		return nil, nil, []Problem{{Line: line, Text: says}}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, nil, []Problem{{Line: doc.Line, Text: "a sequence begins with name: and has steps:"}}
	}
	var st strict
	st.value(doc.Content[0], reflect.TypeFor[Sequence](), reflect.StructField{}, "sequence", 0)
	if len(st.problems) > 0 {
		return nil, nil, st.problems
	}
	s := &Sequence{}
	if err := doc.Content[0].Decode(s); err != nil {
		return nil, nil, []Problem{{Text: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	return s, doc.Content[0], nil
}
