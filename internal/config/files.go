package config

import (
	"path/filepath"
	"reflect"
	"regexp"
)

// NamedFile is a file that a setting names: a key, a certificate, a password.
type NamedFile struct {
	Setting string `json:"setting"`
	Path    string `json:"path"`
}

var namesFile = regexp.MustCompile(`-(file|cert|key)$`)

// NamedFiles are the files that settings name. They are their admin's, beside the
// settings, and no backup has them.
func (c *Config) NamedFiles() (all []NamedFile) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		setting := v.Type().Field(i).Tag.Get("yaml")
		if path, ok := v.Field(i).Interface().(string); ok && path != "" && namesFile.MatchString(setting) {
			all = append(all, NamedFile{setting, filepath.Clean(path)})
		}
	}
	return all
}
