package yamltext

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestExplain(t *testing.T) {
	for text, want := range map[string]struct {
		line int
		says string
	}{
		"name: x\nsteps: [": {2, "did not find expected node content"},
		"name: x\nsteps:\n  - {a: echo ${B} c}\n  - b\n": {3, "as ${NAME} has, stands in quotes"},
		"{a: ${b} c}\n":         {1, "stands in quotes"},
		"x: 1\na: [b\nc: d\n":   {2, "stands in quotes"},
		"a: b\n- c\n":           {2, "indented alike"},
		"a:\n  - b\n  c: d\n":   {2, "indented alike"}, // where the list begins
		"a: b\nc: d: e\n":       {2, "a colon and a blank"},
		"a:\n\tb: c\n":          {2, "not with tabs"},
		"x: 1\na: @b\n":         {2, "begins with @"},
		"x:\n - a\n -b\ny: 1\n": {3, "indented alike"},
		"x: 1\ny: *z\n":         {0, "unknown anchor 'z'"},
		"a: 'x\nb: c\n":         {2, "end of stream"},
	} {
		err := yaml.Unmarshal([]byte(text), &yaml.Node{})
		if err == nil {
			t.Errorf("%q is YAML", text)
			continue
		}
		if line, says := Explain(err, []byte(text)); line != want.line || !strings.Contains(says, want.says) || strings.Contains(says, "yaml:") {
			t.Errorf("%q: line %d: %s; want %d: %s", text, line, says, want.line, want.says)
		}
		if says := Error(err, []byte(text)).Error(); strings.Contains(says, "line ") != (want.line > 0) {
			t.Errorf("%q: %s", text, says)
		}
	}
}
