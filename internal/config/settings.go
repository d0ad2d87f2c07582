package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Names are the names of all settings, in the order of the fields.
func Names() []string {
	t := reflect.TypeFor[Config]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// Text is the value of a setting as people write it; of a list one text for each
// entry. ok is false when there is no such setting.
func (c *Config) Text(name string) (list []string, ok bool) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") != name {
			continue
		}
		switch x := v.Field(i).Interface().(type) {
		case List:
			return x, true
		case time.Duration:
			return []string{shortDuration(x)}, true
		default:
			return []string{fmt.Sprint(x)}, true
		}
	}
	return nil, false
}

// shortDuration leaves out what is 0: 168h, not 168h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Lines are the settings that a file has, with their lines. It is for a file that
// Load has taken; with path "" it is DefaultPath, which need not be there.
func Lines(path string) (map[string]int, error) {
	optional := path == ""
	if optional {
		path = DefaultPath
	}
	text, err := os.ReadFile(path)
	if optional && os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("settings %s: %w", path, err)
	}
	lines := make(map[string]int)
	if len(file.Content) == 1 && file.Content[0].Kind == yaml.MappingNode {
		for i := 0; i+1 < len(file.Content[0].Content); i += 2 {
			key := file.Content[0].Content[i]
			lines[key.Value] = key.Line
		}
	}
	return lines, nil
}

// Subject is the setting that an error of Validate is about: its first word.
func Subject(err error) string {
	name, _, _ := strings.Cut(err.Error(), " ")
	return strings.Trim(name, ":,")
}

// InFile says in which line of a file the setting is that an error is about, if the file
// has it. lines are as of Lines.
func InFile(path string, lines map[string]int, err error) error {
	if line, ok := lines[Subject(err)]; ok {
		return fmt.Errorf("settings %s: line %d: %w", path, line, err)
	}
	return err
}

// Changed are the names of the settings in which two differ.
func Changed(a, b *Config) (names []string) {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		// Nothing and an empty list are the same.
		if x.Field(i).Kind() == reflect.Slice && x.Field(i).Len() == 0 && y.Field(i).Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			names = append(names, x.Type().Field(i).Tag.Get("yaml"))
		}
	}
	return names
}

// nearest is the setting whose name is most like a misspelt one, "" when none is.
func nearest(name string) string { return Nearest(name, Names()) }

// Nearest is the one of names that is most like a misspelt one, "" when none is.
func Nearest(name string, names []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	best, found := max(2, len(name)/3)+1, ""
	for _, n := range names {
		if d := distance(name, n); d < best {
			best, found = d, n
		}
	}
	return found
}

// distance is how many letters are to be changed, added or taken away (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Merge is a with the settings of b for which take is true.
func Merge(a, b *Config, take func(name string) bool) Config {
	merged := *a
	to, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(b).Elem()
	for i := range to.NumField() {
		if take(to.Type().Field(i).Tag.Get("yaml")) {
			to.Field(i).Set(from.Field(i))
		}
	}
	return merged
}
