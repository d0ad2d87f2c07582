package step

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/agent/unattend"
	"castpoint/deploy/sequence"
)

// partition divides a disk. From then on the state of the run is on it.
func (e *engine) partition(ctx context.Context, a *sequence.PartitionDisk) (outcome, error) {
	disks, err := e.o.Machine.Disks()
	if err != nil {
		return outcome{}, err
	}
	d, err := disk.Choose(disks, a.Disk)
	if err != nil {
		return outcome{}, err
	}
	plan, err := disk.Place(a, e.o.Machine.Firmware(), d, rand.Reader)
	if err != nil {
		return outcome{}, err
	}
	e.say("dividing %s (%d GB): all that is on it is lost", d.Path, d.Size/1e9)
	if err := e.o.Machine.Partition(ctx, plan); err != nil {
		return outcome{}, err
	}
	e.state.setPlan(plan)
	if e.keep.disk == nil || e.keep.disk.Path == d.Path {
		e.keep.disk = &d
	}
	done := outcome{variables: make(map[string]protocol.VariableValue)}
	for _, v := range plan.Volumes {
		if v.Variable == "" {
			continue
		}
		at, err := e.o.Machine.Folder(ctx, v)
		if err != nil {
			return outcome{}, err
		}
		done.variables[v.Variable] = protocol.VariableValue{Value: strings.TrimSuffix(at, `\`)}
	}
	return done, nil
}

func (e *engine) wipe(ctx context.Context, a *sequence.WipeDisk) error {
	disks, err := e.o.Machine.Disks()
	if err != nil {
		return err
	}
	chosen := disk.Fixed(disks)
	if a.Disk != "all" {
		d, err := disk.Choose(disks, a.Disk)
		if err != nil {
			return err
		}
		chosen = []disk.Disk{d}
	}
	for _, d := range chosen {
		e.say("wiping %s (%d GB): all that is on it is lost", d.Path, d.Size/1e9)
		if err := e.o.Machine.Wipe(ctx, d, a, e.progress("wiping "+d.Path)); err != nil {
			return err
		}
		if e.keep.disk != nil && e.keep.disk.Path == d.Path {
			e.keep.disk, e.state.Plans, e.state.Applied = nil, nil, ""
		}
	}
	return nil
}

// image gets a source ready to be applied.
func (e *engine) image(s *sequence.Source, compact bool) (machine.Image, error) {
	im := machine.Image{Index: s.Index, Compact: compact, Percent: e.progress("applying the image")}
	if s.From == sequence.FromLocal {
		im.Local = s.Path
		return im, nil
	}
	c, err := e.content(s.Content)
	if err != nil {
		return im, err
	}
	f, err := oneFile(c)
	if err != nil {
		return im, err
	}
	im.Size = f.Size
	im.Receive = func(ctx context.Context, out string) error {
		return e.receive(ctx, c, s.From, out)
	}
	return im, nil
}

func (e *engine) applyImage(ctx context.Context, a *sequence.ApplyImage) error {
	plan, v, err := e.volume(a.Target)
	if err != nil {
		return err
	}
	im, err := e.image(&a.Source, a.Compact)
	if err != nil {
		return err
	}
	// What was fetched to the volume goes with what was on it.
	e.state.Fetched = nil
	if err := e.o.Machine.ApplyImage(ctx, plan, v, im); err != nil {
		return err
	}
	e.state.Applied = v.Name
	return nil
}

func (e *engine) applyData(ctx context.Context, a *sequence.ApplyDataImage) error {
	_, v, err := e.volume(a.Target)
	if err != nil {
		return err
	}
	im, err := e.image(&a.Source, false)
	if err != nil {
		return err
	}
	return e.o.Machine.ApplyFiles(ctx, v, a.Folder, im)
}

func (e *engine) bootloader(ctx context.Context, a *sequence.InstallBootloader) error {
	plan, os, err := e.volume(a.OS)
	if err != nil {
		return err
	}
	system := systemVolume(plan, os)
	if a.System != "" {
		if plan, system, err = e.volume(a.System); err != nil {
			return err
		}
	}
	return e.o.Machine.Bootloader(ctx, plan, system, os, a)
}

// systemVolume is the volume that the firmware boots from when the step names none:
// the EFI system partition or the active one, else that of the operating system.
func systemVolume(p *disk.Plan, os disk.Volume) disk.Volume {
	for _, v := range p.Volumes {
		if v.Type == sequence.PartitionESP || v.Active {
			return v
		}
	}
	return os
}

func (e *engine) capture(ctx context.Context, a *sequence.CaptureImage) error {
	_, v, err := e.volume(a.Volume)
	if err != nil {
		return err
	}
	compression := a.Compression
	if compression == "" {
		compression = "fast"
	}
	image := a.Image
	if image == "" {
		image = v.Name
	}
	return e.o.Machine.Capture(ctx, v, a.File, image, compression, e.progress("capturing "+v.Name))
}

// windowsArch is what Windows calls the architecture of the machine.
func (e *engine) windowsArch() string {
	if e.o.Facts.Architecture == "" {
		return "amd64"
	}
	return e.o.Facts.Architecture
}

// answerFile changes the answer file of a Windows that was applied.
func (e *engine) answerFile(ctx context.Context, target, template string, change func(*unattend.Document) error) error {
	_, v, err := e.volume(target)
	if err != nil {
		return err
	}
	folder, err := e.o.Machine.Folder(ctx, v)
	if err != nil {
		return err
	}
	if err := machine.Answers(folder, e.windowsArch(), template, change); err != nil {
		return err
	}
	return e.o.Machine.ApplyAnswers(ctx, v)
}

func (e *engine) windowsSettings(ctx context.Context, a *sequence.WindowsSettings) error {
	e.hide(a.AdminPassword, a.ProductKey)
	return e.answerFile(ctx, a.Target, a.Template, func(d *unattend.Document) error {
		d.Windows(a)
		return nil
	})
}

func (e *engine) networkSettings(ctx context.Context, a *sequence.NetworkSettings) error {
	if a.Domain != nil {
		e.hide(a.Domain.Password)
	}
	return e.answerFile(ctx, a.Target, "", func(d *unattend.Document) error { return d.Network(a, e.o.MAC) })
}

func (e *engine) joinDomain(ctx context.Context, a *sequence.JoinDomain) error {
	e.hide(a.Password)
	if a.Target == "" {
		return e.o.Machine.JoinDomain(ctx, &a.Domain)
	}
	return e.answerFile(ctx, a.Target, "", func(d *unattend.Document) error {
		d.Join(&a.Domain)
		return nil
	})
}

// hide keeps texts out of messages, outputs and the log, whatever variable they
// came from.
func (e *engine) hide(texts ...string) {
	for _, t := range texts {
		if len(t) >= shortestSecret {
			e.hidden = append(e.hidden, t)
		}
	}
}

func (e *engine) drivers(ctx context.Context, a *sequence.ApplyDrivers) error {
	_, v, err := e.volume(a.Target)
	if err != nil {
		return err
	}
	c, err := e.content(a.Content)
	if err != nil {
		return err
	}
	folder, err := e.fetch(ctx, c, "", "")
	if err != nil {
		return err
	}
	if a.Folder != "" {
		folder = filepath.Join(folder, filepath.FromSlash(strings.ReplaceAll(a.Folder, `\`, "/")))
	}
	n, err := countDrivers(folder)
	if err != nil {
		return err
	}
	if n == 0 {
		if a.Optional {
			e.say("package %s has no drivers", c.Name)
			return nil
		}
		return fmt.Errorf("package %s has no driver (.inf) in it", c.Name)
	}
	e.say("%d drivers of package %s", n, c.Name)
	return e.o.Machine.AddDrivers(ctx, v, folder, c.ID, e.windowsArch(), a.Unsigned)
}

// drive is the drive of a volume, for manage-bde; "" is the one of Windows.
func (e *engine) drive(ctx context.Context, name string) (string, error) {
	if name == "" {
		if e.o.Machine.Environment() == sequence.EnvironmentWindows {
			return "C:", nil
		}
		if name = e.state.Applied; name == "" {
			return "", errors.New("no volume given, and no Windows has been applied")
		}
	}
	if len(name) == 2 && name[1] == ':' {
		return name, nil
	}
	_, v, err := e.volume(name)
	if err != nil {
		return "", err
	}
	at, err := e.o.Machine.Folder(ctx, v)
	return strings.TrimSuffix(at, `\`), err
}

func (e *engine) enableBitLocker(ctx context.Context, a *sequence.EnableBitLocker) (outcome, error) {
	e.hide(a.PIN, a.Password)
	drive, err := e.drive(ctx, a.Volume)
	if err != nil {
		return outcome{}, err
	}
	recovery, err := e.o.Machine.EnableBitLocker(ctx, drive, a)
	if err != nil || recovery == "" {
		return outcome{}, err
	}
	e.hide(recovery)
	return outcome{variables: map[string]protocol.VariableValue{protocol.VariableRecovery: {Value: recovery, Secret: true}}}, nil
}
