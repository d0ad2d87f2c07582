package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/content/wim"
	"castpoint/deploy/sequence"
)

// Windows is Windows PE, or the Windows of the disk.
type Windows struct {
	programs Programs
	list     func() ([]disk.Disk, error)
	firmware string
	pe       bool
	work     string // folder for scripts
	// Drive is what a letter becomes as a folder, LETTER:\ unless a test changes it.
	Drive func(letter string) string
	flush func(volume string) error
}

// NewWindows makes the machine of the Windows that runs. pe says that it is
// Windows PE.
func NewWindows(p Programs, firmware string, pe bool, work string) *Windows {
	return &Windows{
		programs: p, list: disk.List, firmware: firmware, pe: pe, work: work, flush: flushVolume,
		Drive: func(letter string) string { return letter + `:\` },
	}
}

// Environment is what conditions and the server call it.
func (w *Windows) Environment() string {
	if w.pe {
		return sequence.EnvironmentWindowsPE
	}
	return sequence.EnvironmentWindows
}

// Firmware is uefi or bios.
func (w *Windows) Firmware() string { return w.firmware }

// Disks are the disks of the machine.
func (w *Windows) Disks() ([]disk.Disk, error) { return w.list() }

// Programs runs what steps are told to run.
func (w *Windows) Programs() Programs { return w.programs }

// OpenRecord opens a disk for the state of a run.
func (w *Windows) OpenRecord(d disk.Disk) (*os.File, error) { return os.OpenFile(d.Path, os.O_RDWR, 0) }

// script writes a script beside the agent and runs a program with it.
func (w *Windows) script(ctx context.Context, name, text string, args ...string) error {
	if err := os.MkdirAll(w.work, 0o755); err != nil {
		return err
	}
	path := filepath.Join(w.work, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write script %s: %w", name, err)
	}
	return errors.Join(must(ctx, w.programs, Program{Args: append(args, path)}), os.Remove(path))
}

// Partition makes a plan true.
func (w *Windows) Partition(ctx context.Context, p *disk.Plan) error {
	if err := p.CheckWindows(); err != nil {
		return err
	}
	if err := w.script(ctx, "partition.txt", p.Diskpart(), "diskpart", "/s"); err != nil {
		return fmt.Errorf("divide disk %d: %w", p.Disk.Number, err)
	}
	return nil
}

// Wipe destroys what is on a disk.
func (w *Windows) Wipe(ctx context.Context, d disk.Disk, step *sequence.WipeDisk, _ func(float64)) error {
	command := "clean"
	switch step.Method {
	case "", sequence.WipeQuick:
	case sequence.WipeZero:
		command = "clean all"
	default:
		return fmt.Errorf("wipe disk %d: Windows PE cannot do method %s: take zero, or the Linux boot environment", d.Number, step.Method)
	}
	for range max(step.Passes, 1) {
		if err := w.script(ctx, "wipe.txt", fmt.Sprintf("select disk %d\r\n%s\r\nexit\r\n", d.Number, command), "diskpart", "/s"); err != nil {
			return fmt.Errorf("wipe disk %d: %w", d.Number, err)
		}
	}
	return nil
}

// Folder is the drive of a volume.
func (w *Windows) Folder(_ context.Context, v disk.Volume) (string, error) {
	if v.Letter == "" {
		return "", fmt.Errorf("volume %s has no drive letter: Windows reaches NTFS and FAT volumes only", v.Name)
	}
	return w.Drive(v.Letter), nil
}

// Release has nothing to do: Windows gives volumes up when it shuts down.
func (w *Windows) Release() error { return nil }

// Flush has what was written to volumes be on the disk. The letters are those of
// Windows PE: what another system calls otherwise is passed over.
func (w *Windows) Flush(volumes []disk.Volume) error {
	var letters []string
	for _, v := range volumes {
		if v.Letter != "" {
			letters = append(letters, v.Letter+":")
		}
	}
	if drive := os.Getenv("SystemDrive"); !w.pe && drive != "" {
		letters = []string{drive}
	}
	for _, letter := range letters {
		if err := w.flush(`\\.\` + letter); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write what drive %s has to the disk: %w", letter, err)
		}
	}
	return nil
}

// ApplyImage applies an operating system to a volume.
func (w *Windows) ApplyImage(ctx context.Context, _ *disk.Plan, v disk.Volume, im Image) error {
	return w.ApplyFiles(ctx, v, "", im)
}

// ApplyFiles applies an image to a folder of a volume. The file waits on the same
// volume.
func (w *Windows) ApplyFiles(ctx context.Context, v disk.Volume, folder string, im Image) error {
	return applyTo(ctx, w, v, folder, im, func(file string, one wim.Image, into string) error {
		args := []string{"dism", "/English", "/Apply-Image", "/ImageFile:" + file, "/Index:" + strconv.Itoa(one.Index), "/ApplyDir:" + into}
		if im.Compact {
			args = append(args, "/Compact")
		}
		if err := must(ctx, w.programs, Program{Args: args, Output: follow(im.Percent)}); err != nil {
			return fmt.Errorf("apply the image to volume %s: %w", v.Name, err)
		}
		return nil
	})
}

// Extract takes a WIM file apart into a folder, which is made.
func (w *Windows) Extract(ctx context.Context, file, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return must(ctx, w.programs, Program{Args: []string{"dism", "/English", "/Apply-Image", "/ImageFile:" + file, "/Index:1", "/ApplyDir:" + folder}})
}

// Capture makes a WIM file of a volume.
func (w *Windows) Capture(ctx context.Context, v disk.Volume, file, image, compression string, percent func(float64)) error {
	root, err := w.Folder(ctx, v)
	if err != nil {
		return err
	}
	args := []string{"dism", "/English", "/Capture-Image", "/ImageFile:" + file, "/CaptureDir:" + root, "/Name:" + image,
		"/Compress:" + compression, "/CheckIntegrity"}
	if err := must(ctx, w.programs, Program{Args: args, Output: follow(percent)}); err != nil {
		return fmt.Errorf("capture volume %s: %w", v.Name, err)
	}
	return nil
}

// Bootloader makes a disk boot the Windows on a volume of it.
func (w *Windows) Bootloader(ctx context.Context, _ *disk.Plan, system, windows disk.Volume, step *sequence.InstallBootloader) error {
	if step.Kind == sequence.BootloaderGRUB {
		return errors.New("GRUB is installed in the Linux boot environment, not in Windows PE")
	}
	from, err := w.Folder(ctx, windows)
	if err != nil {
		return err
	}
	if _, err := w.Folder(ctx, system); err != nil {
		return err
	}
	firmware := map[string]string{sequence.FirmwareUEFI: "UEFI", sequence.FirmwareBIOS: "BIOS", sequence.FirmwareAny: "ALL", "": strings.ToUpper(w.firmware)}[step.Firmware]
	// /s leaves the firmware's boot menu alone; without it bcdboot makes an entry,
	// but then it chooses the system partition by itself.
	args := []string{"bcdboot", filepath.Join(from, "Windows"), "/s", system.Letter + ":", "/f", firmware}
	if err := must(ctx, w.programs, Program{Args: args}); err != nil {
		return fmt.Errorf("make the disk bootable: %w", err)
	}
	if firmware == "BIOS" || firmware == "ALL" {
		if err := must(ctx, w.programs, Program{Args: []string{"bootsect", "/nt60", system.Letter + ":", "/mbr"}}); err != nil {
			return fmt.Errorf("write the boot sector: %w", err)
		}
	}
	return nil
}

// AddDrivers adds the drivers in a folder to the driver store of a Windows that
// does not run.
func (w *Windows) AddDrivers(ctx context.Context, windows disk.Volume, folder, _, _ string, unsigned bool) error {
	root, err := w.Folder(ctx, windows)
	if err != nil {
		return err
	}
	args := []string{"dism", "/English", "/Image:" + root, "/Add-Driver", "/Driver:" + folder, "/Recurse"}
	if unsigned {
		args = append(args, "/ForceUnsigned")
	}
	if err := must(ctx, w.programs, Program{Args: args}); err != nil {
		return fmt.Errorf("add drivers to volume %s: %w", windows.Name, err)
	}
	return nil
}

// ApplyAnswers does what the answer file says for a Windows that does not run (its
// pass offlineServicing).
func (w *Windows) ApplyAnswers(ctx context.Context, windows disk.Volume) error {
	root, err := w.Folder(ctx, windows)
	if err != nil {
		return err
	}
	file, err := Find(root, "Windows/Panther/unattend.xml")
	if err != nil {
		return err
	}
	return must(ctx, w.programs, Program{Args: []string{"dism", "/English", "/Image:" + root, "/Apply-Unattend:" + file}})
}

// Shell is a command line as cmd takes it: as it is, because cmd has rules of its
// own for quotes.
func (w *Windows) Shell(command string) Program {
	return Program{Args: []string{"cmd"}, Line: `cmd /d /s /c "` + command + `"`}
}

// PowerShell runs a script that is in a file.
func (w *Windows) PowerShell(step *sequence.RunPowerShell, file string) (Program, error) {
	policy := map[string]string{"": "Bypass", "bypass": "Bypass", "all-signed": "AllSigned", "remote-signed": "RemoteSigned"}[step.Policy]
	args := []string{"powershell", "-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", policy, "-File", file}
	return Program{Args: append(args, step.Arguments...)}, nil
}
