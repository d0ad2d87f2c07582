package step

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/deploy/sequence"
)

// lookup is the value of a variable; castpoint's own begin with an underscore.
func (e *engine) lookup(name string) (string, bool) {
	if strings.HasPrefix(name, "_") {
		v, ok := e.builtIn()[name]
		return v, ok
	}
	v, ok := e.state.Variables[name]
	return v.Value, ok
}

func (e *engine) builtIn() map[string]string {
	f := &e.o.Facts
	return map[string]string{
		"_Architecture": f.Architecture, "_AssetTag": f.AssetTag, "_Deployment": e.o.Run.Deployment, "_Device": e.o.Run.Device,
		"_Environment": e.o.Machine.Environment(), "_Firmware": e.o.Machine.Firmware(), "_LastExitCode": strconv.Itoa(e.last.ExitCode),
		"_MAC": e.o.MAC, "_Manufacturer": f.Manufacturer, "_Model": f.Model, "_Run": e.o.Run.ID, "_Sequence": e.o.Run.Sequence.Name,
		"_Serial": f.Serial, "_Server": e.o.Run.Server, "_UUID": f.UUID, "_WorkFolder": e.work(context.Background()),
	}
}

// scope is what conditions can ask.
func (e *engine) scope(ctx context.Context) sequence.Scope {
	vars := make(map[string]string, len(e.state.Variables))
	for name, v := range e.state.Variables {
		vars[name] = v.Value
	}
	maps.Copy(vars, e.builtIn())
	return sequence.Scope{
		Vars: vars, Device: e.o.Facts, Environment: e.o.Machine.Environment(), Last: e.last,
		Exists: func(path string) bool {
			_, err := os.Stat(path)
			return err == nil
		},
		WMI: func(query string) (bool, error) { return e.wmi(ctx, query) },
	}
}

// wmi asks Windows whether a query has a result.
func (e *engine) wmi(ctx context.Context, query string) (bool, error) {
	if !e.isWindows() {
		return false, errors.New("there is no WMI in Linux: ask for facts of the device instead")
	}
	p := machine.Program{Args: []string{"powershell", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
		"if (Get-CimInstance -Query $env:CP_QUERY) { exit 0 } else { exit 10 }"}, Env: []string{"CP_QUERY=" + query}}
	r, err := e.o.Machine.Programs().Run(ctx, p)
	switch {
	case err != nil:
		return false, err
	case r.Code == 0 || r.Code == 10:
		return r.Code == 0, nil
	}
	return false, &machine.ExitError{Program: "WMI query", Code: r.Code, Tail: r.Tail}
}

// work is the folder for what steps fetch: on the volume of the operating system,
// else on the first one that has files, else in memory.
func (e *engine) work(ctx context.Context) string {
	v, ok := e.workVolume()
	if ok {
		if at, err := e.o.Machine.Folder(ctx, v); err == nil {
			return filepath.Join(at, workFolder)
		}
	}
	return filepath.Join(e.o.Memory, workFolder)
}

// letterPattern is a volume that Windows has already, as in C:.
var letterPattern = regexp.MustCompile(`^[A-Za-z]:$`)

// isWindows says whether it is Windows that runs, or Windows PE.
func (e *engine) isWindows() bool {
	return strings.HasPrefix(e.o.Machine.Environment(), sequence.EnvironmentWindows)
}

// volume finds a volume by its name: of a partition-disk step, in Windows the letter
// of one that was there before, and in Linux a folder.
func (e *engine) volume(name string) (*disk.Plan, disk.Volume, error) {
	if letterPattern.MatchString(name) && e.isWindows() {
		return &disk.Plan{}, disk.Volume{Name: name, Format: disk.NTFS, Letter: strings.ToUpper(name[:1])}, nil
	}
	if strings.HasPrefix(name, "/") && !e.isWindows() {
		return &disk.Plan{}, disk.Volume{Name: name}, nil
	}
	plan, v, err := e.state.volume(name)
	if err != nil {
		return nil, v, err
	}
	return plan, e.here(plan, v), nil
}

// here is a volume as the system calls it that runs now: drive letters and names of
// devices are those of the system that has divided the disk.
func (e *engine) here(p *disk.Plan, v disk.Volume) disk.Volume {
	if !e.onDisk() {
		return v
	}
	if e.isWindows() {
		v.Letter = ""
		if v.Name == e.state.Applied {
			v.Letter = strings.TrimSuffix(os.Getenv("SystemDrive"), ":")
		}
		return v
	}
	if path, err := filepath.EvalSymlinks("/dev/disk/by-partuuid/" + p.PartUUID(v)); err == nil {
		v.Path = path
	}
	return v
}
