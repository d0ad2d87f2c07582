package step

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// workFolder is where what steps fetch is, on a volume or in memory.
const workFolder = "castpoint"

// content finds a content by what the sequence calls it.
func (e *engine) content(name string) (protocol.RunContent, error) {
	for _, c := range e.o.Run.Contents {
		if c.ID == name || strings.EqualFold(c.Name, name) || slices.Contains(c.Names, name) {
			return c, nil
		}
	}
	return protocol.RunContent{}, fmt.Errorf("the server gives this machine no content %q: name it in the sequence's contents when a variable names it", name)
}

// oneFile is the file of a content that has one.
func oneFile(c protocol.RunContent) (protocol.File, error) {
	if len(c.Files) != 1 {
		return protocol.File{}, fmt.Errorf("content %s has %d files, an image has one", c.Name, len(c.Files))
	}
	return c.Files[0], nil
}

// receive brings a content to out.
func (e *engine) receive(ctx context.Context, c protocol.RunContent, from, out string) error {
	e.say("receiving %s", c.Name)
	wanted := Wanted{Content: c, From: from, Out: out, Patience: e.patience, Percent: e.progress("receiving " + c.Name)}
	if err := e.o.Server.Receive(ctx, wanted); err != nil {
		return fmt.Errorf("receive %s: %w", c.Name, err)
	}
	return nil
}

// workVolume is where what steps fetch goes: the volume of the operating system,
// else the first one that is not the firmware's or hidden.
func (e *engine) workVolume() (disk.Volume, bool) {
	if _, v, err := e.volume(e.state.Applied); err == nil {
		return v, true
	}
	for _, p := range e.state.Plans {
		for _, v := range p.Volumes {
			if v.Type == sequence.PartitionData || v.Type == sequence.PartitionLinux {
				return e.here(p, v), true
			}
		}
	}
	return disk.Volume{}, false
}

// tidy takes away what steps have fetched for themselves, at the end of the run. What
// a step has put into a folder of its choice stays.
func (e *engine) tidy(ctx context.Context) {
	if e.state.Applied == "" && len(e.state.Fetched) == 0 {
		return
	}
	if err := os.RemoveAll(e.work(ctx)); err != nil {
		e.say("remove what was fetched: %v", err)
	}
	e.state.Fetched = nil
}

func (e *engine) fetchByName(ctx context.Context, name string) (string, error) {
	c, err := e.content(name)
	if err != nil {
		return "", err
	}
	return e.fetch(ctx, c, "", "")
}

// fetch brings a package to this machine and returns its folder. What is there
// already, from a step before, is taken. to replaces the working folder.
func (e *engine) fetch(ctx context.Context, c protocol.RunContent, from, to string) (string, error) {
	if old, ok := e.state.Fetched[c.ID]; ok && to == "" {
		if folder, err := e.fetchedFolder(ctx, old); err == nil {
			if _, err := os.Stat(folder); err == nil {
				return folder, nil
			}
		}
	}
	place := fetched{Folder: filepath.Join(to, c.ID)}
	if to == "" {
		place.Folder = filepath.Join(e.o.Memory, workFolder, c.ID)
		if v, ok := e.workVolume(); ok {
			place = fetched{Volume: v.Name, Folder: filepath.Join(workFolder, c.ID)}
		}
	}
	folder, err := e.fetchedFolder(ctx, place)
	if err != nil {
		return "", err
	}
	if err := e.bring(ctx, c, from, folder); err != nil {
		return "", err
	}
	if e.state.Fetched == nil {
		e.state.Fetched = make(map[string]fetched)
	}
	e.state.Fetched[c.ID] = place
	return folder, nil
}

func (e *engine) fetchedFolder(ctx context.Context, f fetched) (string, error) {
	if f.Volume == "" {
		return f.Folder, nil
	}
	_, v, err := e.volume(f.Volume)
	if err != nil {
		return "", err
	}
	at, err := e.o.Machine.Folder(ctx, v)
	return filepath.Join(at, f.Folder), err
}

// bring receives a content into a folder. A single WIM or ZIP file is taken apart,
// anything else is left as it is. The folder has its name when it is whole.
func (e *engine) bring(ctx context.Context, c protocol.RunContent, from, folder string) error {
	part := folder + ".part"
	if err := errors.Join(os.RemoveAll(part), os.RemoveAll(folder), os.MkdirAll(filepath.Dir(folder), 0o755)); err != nil {
		return fmt.Errorf("make room for %s: %w", c.Name, err)
	}
	if len(c.Files) != 1 { // they come as a folder
		return e.receive(ctx, c, from, folder)
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return fmt.Errorf("make room for %s: %w", c.Name, err)
	}
	file := filepath.Join(part, filepath.Base(filepath.FromSlash(c.Files[0].Name)))
	if err := e.receive(ctx, c, from, file); err != nil {
		return err
	}
	var err error
	switch strings.ToLower(filepath.Ext(file)) {
	case ".wim":
		into := folder + ".files"
		if err = os.RemoveAll(into); err == nil {
			err = e.o.Machine.Extract(ctx, file, into)
		}
		if err == nil {
			err = errors.Join(os.RemoveAll(part), os.Rename(into, part))
		}
	case ".zip":
		if err = unzip(file, part); err == nil {
			err = os.Remove(file)
		}
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", c.Name, err)
	}
	return os.Rename(part, folder)
}

// maxUnpacked bounds what a ZIP file becomes: more than any package has.
const maxUnpacked = 64 << 30

// unzip unpacks a ZIP file into a folder and nowhere else.
func unzip(file, folder string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	for _, f := range z.File {
		name := filepath.FromSlash(strings.ReplaceAll(f.Name, `\`, "/"))
		if !filepath.IsLocal(name) {
			return fmt.Errorf("file %q lies outside the package", f.Name)
		}
		if strings.HasSuffix(f.Name, "/") || f.Mode().IsDir() {
			err = root.MkdirAll(name, 0o755)
		} else if f.Mode().IsRegular() {
			var n int64
			n, err = unzipFile(root, f, name, left)
			left -= n
		}
		if err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
	}
	return nil
}

func unzipFile(root *os.Root, f *zip.File, name string, limit int64) (n int64, err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return 0, err
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, io.LimitReader(in, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("the package has more than %d bytes", int64(maxUnpacked))
	}
	return n, errors.Join(err, out.Close())
}

// download fetches contents for later steps.
func (e *engine) download(ctx context.Context, a *sequence.DownloadContent) (outcome, error) {
	done := outcome{variables: make(map[string]protocol.VariableValue)}
	for i, name := range a.Contents {
		c, err := e.content(name)
		if err != nil {
			return done, err
		}
		folder, err := e.fetch(ctx, c, a.From, a.Folder)
		if err != nil {
			return done, err
		}
		if a.Variable == "" {
			continue
		}
		if i == 0 {
			done.variables[a.Variable] = protocol.VariableValue{Value: folder}
		}
		done.variables[a.Variable+strconv.Itoa(i+1)] = protocol.VariableValue{Value: folder}
	}
	return done, nil
}

// countDrivers counts the .inf files below a folder.
func countDrivers(folder string) (n int, err error) {
	err = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(d.Name()), ".inf") {
			n++
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for drivers: %w", err)
	}
	return n, nil
}

var _ Machine = (*machine.Linux)(nil)
var _ Machine = (*machine.Windows)(nil)
