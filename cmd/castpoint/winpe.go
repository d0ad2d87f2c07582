package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/iso"
	"castpoint/content/wim"
	"castpoint/internal/config"
)

// windowsConfig makes the settings of Microsoft's boot chain out of those of the
// file. Settings, Ticket and Log are missing.
func windowsConfig(cfg *config.Config, loaders *boot.Loaders, library *content.Library) boot.WindowsConfig {
	return boot.WindowsConfig{
		Loaders: loaders, Library: library, BootImage: cfg.BootImage, Extra: cfg.WinPEFiles, Agent: windowsAgent,
	}
}

// bootSettings makes the settings of machines out of those of the file.
func bootSettings(cfg *config.Config) (boot.ResolverConfig, error) {
	r := boot.ResolverConfig{Base: boot.Settings{
		CA: cfg.ChainCA, Prompt: cfg.WinPEPrompt,
		Store: bcd.Options{BlockSize: cfg.RamdiskBlockSize, WindowSize: cfg.RamdiskWindow, VariableWindow: &cfg.RamdiskVariableWindow},
	}}
	if cfg.BCD != "" {
		var err error
		if r.Base.BCD, err = os.ReadFile(cfg.BCD); err != nil {
			return r, fmt.Errorf("bcd: %w", err)
		}
	}
	rules, err := cfg.BootRules()
	if err != nil {
		return r, err
	}
	for _, from := range rules {
		rule := boot.Rule{MAC: from.MAC, UUID: from.UUID}
		for _, arch := range config.ChainArchs()[from.Arch] {
			rule.Archs = append(rule.Archs, boot.Arch(arch))
		}
		if rule.Set, err = boot.ParseChange(from.Set); err != nil {
			return r, command.Usage("machine: %w", err)
		}
		r.Rules = append(r.Rules, rule)
	}
	return r, nil
}

// windowsAgent is the embedded agent for Windows machines of arch.
func windowsAgent(arch string) (io.ReaderAt, int64, error) {
	name := "castagent-windows-" + arch + ".exe"
	b, err := agents.ReadFile("agents/" + name)
	if err != nil {
		return nil, 0, fmt.Errorf("this castpoint was built without %s: build it with make build: %w", name, err)
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

// bootImage is what a WinPE boot image is made of, as people see it.
type bootImage struct {
	Index   int             `json:"index"`
	Arch    string          `json:"arch,omitempty"`
	Version string          `json:"version,omitempty"`
	Files   []bootImageFile `json:"files"`
	Missing []winpe.Missing `json:"missing"`
}

type bootImageFile struct {
	Name    string         `json:"name"`
	Path    string         `json:"path"`
	Extra   bool           `json:"extra,omitempty"` // in a folder, not in the image
	Size    int64          `json:"size"`
	Signers []winpe.Signer `json:"signers,omitempty"`
	Problem string         `json:"problem,omitempty"` // why the signature cannot be read
}

// describeBootImage looks into a WinPE boot image, and into folders for what it
// lacks.
func describeBootImage(path string, index int, folders []string) (*bootImage, error) {
	f, size, err := openWIM(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var o winpe.Options
	r, size, media, err := bootWIM(f, size, path)
	if err != nil {
		return nil, err
	}
	if media != nil {
		o.Extra = append(o.Extra, media)
	}
	for _, dir := range folders {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		o.Extra = append(o.Extra, winpe.FoldCase(os.DirFS(dir)))
	}
	img, err := winpe.Open(r, size, index, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b := &bootImage{Index: img.Index(), Arch: img.Arch(), Version: img.Version(), Files: []bootImageFile{}, Missing: img.Missing()}
	for _, found := range img.Files() {
		file := bootImageFile{Name: found.Name, Path: found.Path, Extra: found.Extra, Size: found.Size}
		file.Signers, err = img.Signers(found)
		// Fonts, lists and BIOS first stages are no PE programs.
		if err != nil && !errors.Is(err, winpe.ErrNotPE) {
			file.Problem = err.Error()
		}
		b.Files = append(b.Files, file)
	}
	return b, nil
}

// print writes the boot files as a table, and what is missing.
func (b *bootImage) print(out io.Writer, now time.Time) error {
	rows := [][]string{{"BOOT FILE", "SIZE", "SIGNED BY", "CA", "UNTIL"}}
	for _, f := range b.Files {
		row := []string{f.Name, agent.Size(f.Size), orDash(f.Problem)}
		for i, s := range f.Signers {
			if i > 0 {
				break // the others are for older firmware
			}
			until := s.NotAfter.Format(time.DateOnly)
			if s.Expired(now) {
				until += " (over, which firmware does not mind)"
			}
			by := s.Subject
			if s.Problem != "" {
				by += ": " + s.Problem
			}
			row = append(row[:2], by, s.CA, until)
		}
		rows = append(rows, row)
	}
	if err := table(out, rows); err != nil {
		return err
	}
	for _, m := range b.Missing {
		needed := ""
		switch {
		case m.UEFI && m.BIOS:
			needed = " (needed)"
		case m.UEFI:
			needed = " (needed by UEFI)"
		case m.BIOS:
			needed = " (needed by BIOS)"
		}
		if _, err := fmt.Fprintf(out, "missing: %s%s: %s\n", m.Name, needed, m.Without); err != nil {
			return err
		}
	}
	return nil
}

func newWIMBoot(o *options) *cobra.Command {
	var index int
	var folders []string
	c := o.addJSON(&cobra.Command{
		Use: "boot FILE", Short: "Say what machines can boot a WinPE image, and what is missing",
		Long: `Boot lists the boot files in a WinPE image (boot managers, boot.sdi, fonts), who signed
them, and for each one that is missing what does not work without it. FILE is a WIM or
the ISO image of Windows installation media. With --files it looks into folders too, as
castpoint serve --winpe-files does.`,
		Example: `  castpoint wim boot boot.wim
  castpoint wim boot boot.wim --files /media/windows`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := describeBootImage(args[0], index, folders)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.json {
				return printJSON(out, b)
			}
			if _, err := fmt.Fprintf(out, "image %d, %s, Windows %s\n\n", b.Index, orDash(b.Arch), orDash(b.Version)); err != nil {
				return err
			}
			return b.print(out, time.Now())
		},
	})
	c.Flags().IntVar(&index, "index", 0, "`NUMBER` of the image inside the WIM (default: the one marked for booting)")
	c.Flags().StringSliceVar(&folders, "files", nil, "`FOLDER` of boot files that the image lacks; may be repeated")
	return c
}

// lookAtBootImage finds out about a boot image that is being added: nil when the
// path is no WIM on this host with a Windows PE in it. It fills in an architecture
// that the WIM's XML data does not give.
func lookAtBootImage(path string, index int, arch *string) *bootImage {
	b, err := describeBootImage(path, index, nil)
	if err != nil {
		return nil // what is wrong with it, adding it says better
	}
	f, size, err := openWIM(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	r, size, _, err := bootWIM(f, size, path)
	if err != nil {
		return nil
	}
	if info, err := wim.Describe(r, size); err == nil && *arch == "" {
		if i, ok := info.Image(b.Index); ok && i.Arch == "" {
			*arch = b.Arch
		}
	}
	return b
}

// bootWIM is the WIM of a boot image: the file itself, or the one inside the ISO
// image of installation media, whose other files are then given too.
func bootWIM(f *os.File, size int64, path string) (io.ReaderAt, int64, fs.FS, error) {
	if !iso.Sniff(f) {
		return f, size, nil, nil
	}
	img, err := iso.Open(f, size)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	boot, ok := img.Find("sources/boot.wim")
	if !ok {
		return nil, 0, nil, fmt.Errorf("%s: the ISO image has no sources/boot.wim: it is not of Windows installation media", path)
	}
	return boot.Open(f), boot.Size, img.FS(f), nil
}
