// Package yamltext says where a YAML file is not written right, and what is probably
// meant.
package yamltext

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// linePattern is how the library begins an error.
var linePattern = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// Of the errors of its parser, the library (go.yaml.in/yaml/v3 3.0.6) gives the line
// before the one that it means: it counts them from 0, and adds the 1 for errors of its
// scanner only. These are how the parser's begin.
var countedFromZero = []string{
	"did not find expected <", "did not find expected node content", "did not find expected '-' indicator",
	"did not find expected key", "did not find expected ',' or ",
}

// Explain makes an error of yaml.Unmarshal, or of the first Decode of a Decoder, into one
// for people: with the line where the file is wrong, or where the list or mapping begins
// in which it is, and with what to do where that is known. line is 0 when none is known.
func Explain(err error, text []byte) (line int, says string) {
	found := linePattern.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", "; "))
	if found == nil {
		return 0, err.Error()
	}
	says = found[2]
	line, _ = strconv.Atoi(found[1]) // 0 when there is none
	for _, begins := range countedFromZero {
		if strings.HasPrefix(says, begins) {
			line++
			break
		}
	}
	if last := strings.Count(strings.TrimRight(string(text), "\n"), "\n") + 1; line > last {
		line = last
	}
	switch {
	case strings.Contains(says, "',' or '"):
		says += ": between { } and [ ] a text that has one of , { } [ ] in it, as ${NAME} has, stands in quotes"
	case strings.Contains(says, "mapping values are not allowed"):
		says += ": a text that has a colon and a blank in it stands in quotes; what belongs together is indented alike"
	case strings.HasPrefix(says, "did not find expected"), strings.HasPrefix(says, "could not find expected"):
		says += ": what belongs together is indented alike"
	case strings.Contains(says, "cannot start any token"):
		says += ": lines are indented with blanks, not with tabs, and a text that begins with @, ` or % stands in quotes"
	}
	return line, says
}

// Error is Explain as one error.
func Error(err error, text []byte) error {
	line, says := Explain(err, text)
	if line == 0 {
		return fmt.Errorf("%s", says)
	}
	return fmt.Errorf("line %d: %s", line, says)
}
