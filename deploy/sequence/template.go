package sequence

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed templates/*.yaml
var templateFiles embed.FS

// Templates are the names of the sequences that castpoint brings along.
func Templates() []string {
	list, err := fs.Glob(templateFiles, "templates/*.yaml")
	if err != nil {
		return nil // the pattern is right
	}
	for i, name := range list {
		list[i] = strings.TrimSuffix(strings.TrimPrefix(name, "templates/"), ".yaml")
	}
	return list
}

// Template is the text of one, to be changed and added.
func Template(name string) ([]byte, error) {
	b, err := templateFiles.ReadFile("templates/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("%w: there is no template %q: there are %s%s", ErrInvalid, name, strings.Join(Templates(), ", "), nearest(name, Templates()))
	}
	return b, nil
}
