package resident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/agent/machine"
	"castpoint/deploy/sequence"
)

// Options say what is put where.
type Options struct {
	System   System
	Settings Settings
	// Environment is what runs now: one of sequence.Environment...
	Environment string
	Programs    machine.Programs
	// Fetch brings the agent's program for the system to a path.
	Fetch func(ctx context.Context, to string) error
	// Close keeps everybody but administrators out of a file or folder of Windows;
	// nil does what this system does for it.
	Close func(path string) error
}

// Put puts the agent into a system, with a starter. What an earlier run has left is
// replaced. The starter comes last: a machine that loses its power meanwhile starts
// nothing.
func Put(ctx context.Context, o Options) error {
	folder, err := o.System.makeFolder()
	if err != nil {
		return fmt.Errorf("make the agent's folder: %w", err)
	}
	if o.Close == nil {
		o.Close = closeToOthers
	}
	if o.System.Kind == Linux { // which has modes for it
		o.Close = func(string) error { return nil }
	}
	if err := o.Close(folder); err != nil {
		return fmt.Errorf("close the agent's folder to others: %w", err)
	}
	program := filepath.Join(folder, o.System.programName())
	if err := o.Fetch(ctx, program); err != nil {
		return fmt.Errorf("fetch the agent: %w", err)
	}
	text, err := json.MarshalIndent(o.Settings, "", "  ")
	if err != nil {
		return err
	}
	settings := SettingsBeside(program)
	if err := writeFile(settings, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the settings of the run: %w", err)
	}
	for _, path := range []string{program, settings} {
		if err := o.Close(path); err != nil {
			return fmt.Errorf("close %s to others: %w", filepath.Base(path), err)
		}
	}
	if o.System.Kind == Linux {
		err = writeUnit(o.System.Root)
	} else {
		err = o.addService(ctx)
	}
	if err != nil {
		return fmt.Errorf("have the system start the agent: %w", err)
	}
	return nil
}

func (s *System) programName() string {
	if s.Kind == Windows {
		return "castagent.exe"
	}
	return "castagent"
}

// makeFolder makes the agent's folder, empty.
func (s *System) makeFolder() (string, error) {
	parent := filepath.Join(s.Root, linuxParent)
	if s.Kind == Linux {
		if err := within(s.Root, linuxParent); err != nil {
			return "", err
		}
	} else {
		windows, err := machine.Find(s.Root, "Windows")
		if err != nil {
			return "", err
		}
		parent = windows
	}
	folder := filepath.Join(parent, Name)
	return folder, errors.Join(os.RemoveAll(folder), os.MkdirAll(parent, 0o755), os.Mkdir(folder, 0o700))
}

// within refuses a folder of a system that a link leads out of it, to the one that runs
// now: what is put there is not on the disk, and a ticket is where nobody expects it.
func within(root, folder string) error {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	for at := filepath.Join(root, folder); ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if errors.Is(err, fs.ErrNotExist) && at != root {
			continue // it is made, below what is there
		}
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
			return fmt.Errorf("/%s of the Linux that was applied is a link that leads out of it, to %s: make it a relative link in the image, or let the restart be the last step", folder, real)
		}
		return nil
	}
}

// writeFile writes a file, durably.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// inBootEnvironment says whether the system that the agent is put into does not run.
func (o *Options) inBootEnvironment() bool { return !sequence.OnDisk(o.Environment) }
