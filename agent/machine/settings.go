package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/agent/disk"
	"castpoint/agent/unattend"
)

// Answers changes the answer file of the Windows below a folder, or makes it. A
// template that is not empty takes the place of what is there.
func Answers(folder, arch, template string, change func(*unattend.Document) error) error {
	if _, err := Find(folder, "Windows"); err != nil {
		return fmt.Errorf("there is no Windows in %s: apply its image first", folder)
	}
	dir, err := makeFolder(folder, filepath.Dir(unattend.File))
	if err != nil {
		return fmt.Errorf("write unattend.xml: %w", err)
	}
	path := filepath.Join(dir, filepath.Base(unattend.File))
	if found, err := Find(dir, filepath.Base(unattend.File)); err == nil {
		path = found
	}
	doc := unattend.New(arch)
	if template == "" {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read unattend.xml: %w", err)
		}
		template = string(text)
	}
	if template != "" {
		if doc, err = unattend.Parse(template, arch); err != nil {
			return err
		}
	}
	if err := change(doc); err != nil {
		return err
	}
	b, err := doc.Bytes()
	if err == nil {
		err = writeFile(path, b)
	}
	if err != nil {
		return fmt.Errorf("write unattend.xml: %w", err)
	}
	return nil
}

// driverFolder is where drivers wait for the first start of a Windows that was
// applied by Linux.
const driverFolder = "Drivers"

// AddDrivers copies a folder of drivers onto the volume of Windows and has Windows
// take them into its driver store when it starts for the first time, before it
// looks for hardware: pnputil, in the specialize pass. Drivers that Windows needs
// to find its own disk have to be in the image.
func (l *Linux) AddDrivers(ctx context.Context, windows disk.Volume, folder, name, arch string, _ bool) error {
	root, err := l.Folder(ctx, windows)
	if err != nil {
		return err
	}
	to, err := makeFolder(root, driverFolder+"/"+name)
	if err != nil {
		return err
	}
	if err := copyTree(ctx, folder, to); err != nil {
		return fmt.Errorf("copy drivers to volume %s: %w", windows.Name, err)
	}
	return Answers(root, arch, "", func(d *unattend.Document) error {
		d.Command("castpoint: drivers", `cmd /c pnputil /add-driver C:\`+driverFolder+`\*.inf /subdirs /install`)
		return nil
	})
}

// ApplyAnswers has nothing to do: Windows reads its answer file by itself. What
// only a running DISM can do offline (the pass offlineServicing) is not done.
func (l *Linux) ApplyAnswers(context.Context, disk.Volume) error { return nil }
