package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// removeLater removes a folder with the program that runs, which Windows does not
// let go: when the system starts again, if that is soon, else by a command prompt that
// tries until the program has ended. (What is to be removed at the next start makes
// installers think that the machine has to be restarted.)
func removeLater(folder string, restarts bool) error {
	if restarts {
		var paths []string
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			paths = append(paths, path)
			return err
		})
		errs := []error{err}
		for i := len(paths) - 1; i >= 0; i-- { // what is in a folder before the folder
			name, err := windows.UTF16PtrFromString(paths[i])
			if err == nil {
				err = windows.MoveFileEx(name, nil, windows.MOVEFILE_DELAY_UNTIL_REBOOT)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	c := exec.CommandContext(context.Background(), "cmd") // it outlives whoever calls
	c.Dir = os.Getenv("SystemRoot")
	c.SysProcAttr = &syscall.SysProcAttr{
		CmdLine:       fmt.Sprintf(`cmd /d /s /c "for /l %%i in (1,1,60) do @(rd /s /q "%s" 2>nul & if not exist "%s" exit 0 & ping -n 2 127.0.0.1 >nul)"`, folder, folder),
		CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW,
	}
	if err := c.Start(); err != nil {
		return err
	}
	return c.Process.Release()
}
