package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"castpoint/agent"
)

// Suffixes of a target's files while it is incomplete.
const (
	PartSuffix  = ".part"
	suffixState = ".part.json"
)

// Check says whether the content may go to out, before anything is asked of
// the server. device is true for a disk.
func Check(out string, force bool) (device bool, err error) {
	if out == "" {
		return false, agent.Errorf(agent.ErrUsage, "no output given: say --out and a name")
	}
	info, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir, err := os.Stat(filepath.Dir(out))
		if err == nil && !dir.IsDir() {
			err = errors.New("is not a folder")
		}
		if err != nil {
			return false, agent.Errorf(agent.ErrUsage, "output %s: the folder %s cannot be used: %w", out, filepath.Dir(out), bare(err))
		}
		return false, nil
	case err != nil:
		return false, fmt.Errorf("output: %w", err)
	case info.IsDir():
		return false, agent.Errorf(agent.ErrUsage, "output %s is a folder: name a file in it, or for a content of several files a folder that is not there yet", out)
	case info.Mode().IsRegular():
		if !force {
			return false, agent.Errorf(agent.ErrRefused, "output %s exists already: remove it, name another, or say --force to replace it", out)
		}
		return false, nil
	}
	return true, checkDevice(out, info)
}

// bare is an error without the path that is named already.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// StatePath is where the state of a receive into out is kept: beside a file; for
// a disk in memory, where it lasts as long as the boot environment.
func StatePath(out string, device bool) string {
	if !device {
		return out + suffixState
	}
	return filepath.Join(volatileDir(), "castpoint-"+strings.ReplaceAll(strings.Trim(filepath.Clean(out), `/\`), string(filepath.Separator), "-")+suffixState)
}
