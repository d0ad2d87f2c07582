//go:build !linux

package target

import (
	"errors"
	"os"
)

// each calls do with every file of the folder, opened.
func (f *Folder) each(do func(*os.File) error) error {
	for _, m := range f.files {
		for _, name := range m.names {
			file, err := f.root.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			if err := errors.Join(do(file), file.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}
