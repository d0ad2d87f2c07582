package settings

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"castpoint/internal/config"
)

// Settings are those of castpoint serve, and where each comes from.
type Settings struct {
	cfg   config.Config
	file  string         // "" for none
	lines map[string]int // of the settings in the file
	given map[string]bool
}

// Where a setting comes from.
const (
	FromDefault = "default"
	FromFile    = "file"
	FromFlag    = "flag"
)

// Read reads the file and puts the flags over it.
func Read(path string, given *pflag.FlagSet) (*Settings, error) {
	s := &Settings{file: path, given: make(map[string]bool)}
	var err error
	if s.cfg, err = overlay(path, given); err != nil {
		return nil, err
	}
	if s.lines, err = config.Lines(path); err != nil {
		return nil, err
	}
	if path == "" && s.lines != nil {
		s.file = config.DefaultPath
	}
	given.Visit(func(f *pflag.Flag) { s.given[f.Name] = true })
	if err := s.cfg.Validate(); err != nil {
		if s.given[config.Subject(err)] {
			return nil, err
		}
		return nil, config.InFile(s.file, s.lines, err)
	}
	return s, nil
}

// overlay is the file with the flags that were given over it.
func overlay(path string, given *pflag.FlagSet) (config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return cfg, err
	}
	over := pflag.NewFlagSet("", pflag.ContinueOnError)
	Flags(over, &cfg)
	over.StringVar(&cfg.Data, "data", cfg.Data, "")
	given.Visit(func(f *pflag.Flag) {
		to := over.Lookup(f.Name)
		if to == nil || err != nil {
			return
		}
		if list, ok := to.Value.(pflag.SliceValue); ok {
			err = list.Replace(f.Value.(pflag.SliceValue).GetSlice())
			return
		}
		err = to.Value.Set(f.Value.String())
	})
	if err != nil {
		return cfg, err
	}
	return cfg, nil
}

// Setting is one setting as the API shows it.
type Setting struct {
	Name  string   `json:"name"`
	Value []string `json:"value" nullable:"false" doc:"a list has one text for each entry"`
	From  string   `json:"from" enum:"default,file,flag"`
	Line  int      `json:"line,omitempty" doc:"in the file"`
	Means string   `json:"means"`
	// Restart: castpoint reload does not change it.
	Restart bool `json:"restart,omitempty" doc:"a change needs a restart"`
}

// List describes all settings in the order of serve's flags.
func (s *Settings) List() []Setting {
	var all []Setting
	for _, f := range Documented() {
		one := Setting{Name: f.Name, From: FromDefault, Means: Meaning(f), Restart: !Reloads(f.Name), Value: []string{}}
		if text, ok := s.cfg.Text(f.Name); ok {
			one.Value = append(one.Value, text...)
		}
		if line, ok := s.lines[f.Name]; ok {
			one.From, one.Line = FromFile, line
		}
		if s.given[f.Name] {
			one.From, one.Line = FromFlag, 0
		}
		all = append(all, one)
	}
	return all
}

// Documented are the flags of all settings, the data folder's first.
func Documented() []*pflag.Flag {
	defaults := config.Default()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringVar(&defaults.Data, "data", defaults.Data, "`FOLDER` of the library, certificate and state")
	Flags(flags, &defaults)
	var all []*pflag.Flag
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, f) })
	return all
}

// Meaning is a flag's help without what is about flags.
func Meaning(f *pflag.Flag) string {
	return strings.NewReplacer("`", "", "; may be repeated", "").Replace(f.Usage)
}

// Config is what they say, checked.
func (s *Settings) Config() config.Config { return s.cfg }

// File is the path of the file, "" for none.
func (s *Settings) File() string { return s.file }

// MergedWith are the settings with those that need a restart taken from others.
func (s *Settings) MergedWith(started *Settings) *Settings {
	stays := func(name string) bool { return !Reloads(name) }
	merged := &Settings{cfg: config.Merge(&s.cfg, &started.cfg, stays), file: s.file, lines: make(map[string]int), given: s.given}
	for _, name := range config.Names() {
		from := s
		if stays(name) {
			from = started
		}
		if line, ok := from.lines[name]; ok {
			merged.lines[name] = line
		}
	}
	return merged
}

// Reloads says whether castpoint reload changes a setting of a running server:
// sockets and folders stay as they are.
func Reloads(name string) bool {
	return slices.Contains([]string{
		"allow", "deny", "delay", "quirk", "menu", "menu-wait", "probe",
		"devices-unknown", "devices-shared-macs", "devices-shared-uuids", "events-keep", "events-max",
		"loaders", "boot-image", "kernel-args", "chain", "machine", "idle", "chain-ca", "winpe-files", "winpe-prompt", "bcd",
		"ramdisk-block-size", "ramdisk-window", "ramdisk-variable-window",
		"assign", "target", "after",
		"rate", "total-rate", "min-rate", "min-members", "max-members", "max-wait", "linger", "sharing",
		"log-level", "log-levels",
	}, name)
}
