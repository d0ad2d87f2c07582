package main

import (
	"reflect"

	"castpoint/internal/config"
)

// settingNames are the names that the file knows.
func settingNames() (names []string) {
	t := reflect.TypeFor[config.Config]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}
