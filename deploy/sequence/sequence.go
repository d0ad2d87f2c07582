package sequence

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Sequence is a task sequence.
type Sequence struct {
	Name         string    `yaml:"name" json:"name" doc:"What the sequence is called: letters, digits, dots, hyphens and underscores."`
	Description  string    `yaml:"description,omitempty" json:"description,omitempty" doc:"What it does, for people."`
	Architecture []string  `yaml:"architecture,omitempty" json:"architecture,omitempty" enum:"amd64,arm64" doc:"Machines that it is for; none means all."`
	Environment  string    `yaml:"environment,omitempty" json:"environment,omitempty" enum:"linux,windows-pe" doc:"The boot environment it begins in; none means either."`
	BootImage    string    `yaml:"boot-image,omitempty" json:"boot-image,omitempty" doc:"The boot image it begins in, by id or name, instead of the general one."`
	Variables    Variables `yaml:"variables,omitempty" json:"variables,omitempty" doc:"What the sequence uses, with values for those that nobody sets."`
	Contents     []string  `yaml:"contents,omitempty" json:"contents,omitempty" doc:"Contents that steps name by a variable: a machine gets those that its sequence names, and no others."`
	Steps        []Step    `yaml:"steps" json:"steps" doc:"The steps, in order."`
}

// Variable is what a sequence says of a variable that it uses. A bare text is its
// value.
type Variable struct {
	Value       string   `yaml:"value,omitempty" json:"value,omitempty" doc:"Its value, unless collection, device or run set another."`
	Description string   `yaml:"description,omitempty" json:"description,omitempty" doc:"What it is for."`
	Required    bool     `yaml:"required,omitempty" json:"required,omitempty" doc:"The sequence does not begin while it has no value."`
	Secret      bool     `yaml:"secret,omitempty" json:"secret,omitempty" doc:"Its value is never shown or logged; it may not stand in the sequence."`
	Pattern     string   `yaml:"pattern,omitempty" json:"pattern,omitempty" doc:"A regular expression that the whole value matches."`
	Choices     []string `yaml:"choices,omitempty" json:"choices,omitempty" doc:"The values that it may have."`
}

// Variables are variables by name.
type Variables map[string]Variable

// Step is a group, with Steps, or a leaf, with one action.
type Step struct {
	Name            string    `yaml:"name,omitempty" json:"name,omitempty" doc:"What people see while it runs."`
	Description     string    `yaml:"description,omitempty" json:"description,omitempty"`
	Disabled        bool      `yaml:"disabled,omitempty" json:"disabled,omitempty" doc:"It is left out."`
	When            Condition `yaml:"when,omitempty" json:"when,omitempty" doc:"It is skipped unless all of these expressions are true."`
	ContinueOnError bool      `yaml:"continue-on-error,omitempty" json:"continue-on-error,omitempty" doc:"The sequence goes on when it has failed."`
	Retry           *Retry    `yaml:"retry,omitempty" json:"retry,omitempty" doc:"How often it is tried again when it has failed."`
	Timeout         Duration  `yaml:"timeout,omitempty" json:"timeout,omitempty" doc:"It has failed after this time."`
	Patience        Duration  `yaml:"patience,omitempty" json:"patience,omitempty" doc:"How long it goes on without anything new from the server before it has failed; 10m without it. For steps that receive or send something."`
	Interrupted     string    `yaml:"interrupted,omitempty" json:"interrupted,omitempty" enum:"repeat,skip,fail" doc:"What becomes of it when the machine restarts in the middle of it: repeat (the default), skip or fail."`

	Steps []Step `yaml:"steps,omitempty" json:"steps,omitempty" doc:"The steps of a group."`

	Actions `yaml:",inline"`

	at position // where it stands in its file
}

// What becomes of a step that was interrupted.
const (
	InterruptedRepeat = "repeat"
	InterruptedSkip   = "skip"
	InterruptedFail   = "fail"
)

// Patience is how long a step goes on without anything new from the server, unless it
// says otherwise.
const Patience = 10 * time.Minute

// leastPatience is time enough to find out that nothing of a session arrives, and to
// fall back to unicast.
const leastPatience = 10 * time.Second

// Retry says how often a step is tried again.
type Retry struct {
	Count int      `yaml:"count" json:"count" doc:"Tries after the first one, 1 to 100."`
	Delay Duration `yaml:"delay,omitempty" json:"delay,omitempty" doc:"Time between two tries."`
}

// Actions are what a step can do; one of them is set in a leaf, none in a group.
type Actions struct {
	PartitionDisk       *PartitionDisk       `yaml:"partition-disk,omitempty" json:"partition-disk,omitempty" doc:"Divides a disk into partitions and formats them."`
	WipeDisk            *WipeDisk            `yaml:"wipe-disk,omitempty" json:"wipe-disk,omitempty" doc:"Makes a disk's data unreadable."`
	ApplyImage          *ApplyImage          `yaml:"apply-image,omitempty" json:"apply-image,omitempty" doc:"Applies an operating system image to a volume."`
	ApplyDataImage      *ApplyDataImage      `yaml:"apply-data-image,omitempty" json:"apply-data-image,omitempty" doc:"Applies an image of data to a folder of a volume."`
	InstallBootloader   *InstallBootloader   `yaml:"install-bootloader,omitempty" json:"install-bootloader,omitempty" doc:"Makes the disk boot the operating system that was applied."`
	ApplyDrivers        *ApplyDrivers        `yaml:"apply-drivers,omitempty" json:"apply-drivers,omitempty" doc:"Adds the drivers of a package to the Windows that was applied."`
	WindowsSettings     *WindowsSettings     `yaml:"windows-settings,omitempty" json:"windows-settings,omitempty" doc:"Writes the settings of the Windows that was applied (unattend.xml)."`
	NetworkSettings     *NetworkSettings     `yaml:"network-settings,omitempty" json:"network-settings,omitempty" doc:"Writes the network settings of the Windows that was applied (unattend.xml)."`
	JoinDomain          *JoinDomain          `yaml:"join-domain,omitempty" json:"join-domain,omitempty" doc:"Joins the running Windows to a domain, or tells the one that was applied to."`
	InstallPackage      *InstallPackage      `yaml:"install-package,omitempty" json:"install-package,omitempty" doc:"Runs the program of a package."`
	RunCommand          *RunCommand          `yaml:"run-command,omitempty" json:"run-command,omitempty" doc:"Runs a command line."`
	RunPowerShell       *RunPowerShell       `yaml:"run-powershell,omitempty" json:"run-powershell,omitempty" doc:"Runs a PowerShell script."`
	SetVariable         *SetVariable         `yaml:"set-variable,omitempty" json:"set-variable,omitempty" doc:"Sets a variable."`
	SetDynamicVariables *SetDynamicVariables `yaml:"set-dynamic-variables,omitempty" json:"set-dynamic-variables,omitempty" doc:"Sets variables by make, model and other facts of the machine."`
	DownloadContent     *DownloadContent     `yaml:"download-content,omitempty" json:"download-content,omitempty" doc:"Fetches contents into a folder."`
	CopyLog             *CopyLog             `yaml:"copy-log,omitempty" json:"copy-log,omitempty" doc:"Sends log files to the server, or copies them to a folder."`
	Restart             *Restart             `yaml:"restart,omitempty" json:"restart,omitempty" doc:"Restarts the machine and goes on with the next step."`
	CheckReadiness      *CheckReadiness      `yaml:"check-readiness,omitempty" json:"check-readiness,omitempty" doc:"Fails unless the machine is fit for what follows."`
	Ask                 *Ask                 `yaml:"ask,omitempty" json:"ask,omitempty" doc:"Asks a person, at the machine or in the console."`
	EnableBitLocker     *EnableBitLocker     `yaml:"enable-bitlocker,omitempty" json:"enable-bitlocker,omitempty" doc:"Encrypts a volume of the running Windows."`
	SuspendBitLocker    *SuspendBitLocker    `yaml:"suspend-bitlocker,omitempty" json:"suspend-bitlocker,omitempty" doc:"Lets a volume be read without its key for some restarts."`
	PrepareCapture      *PrepareCapture      `yaml:"prepare-capture,omitempty" json:"prepare-capture,omitempty" doc:"Takes out of the running Windows what may be there once only (Sysprep)."`
	CaptureImage        *CaptureImage        `yaml:"capture-image,omitempty" json:"capture-image,omitempty" doc:"Makes a WIM file of a volume."`
	Wait                *Wait                `yaml:"wait,omitempty" json:"wait,omitempty" doc:"Waits for a time, or until something is true."`
}

// Action is what a leaf does: a pointer to one of the types of Actions' fields.
type Action interface {
	// check says what is wrong with it; see Check.
	check(c *checker)
}

// Action is the action of a leaf and its name, as in "partition-disk"; nil and ""
// for a group.
func (s *Step) Action() (string, Action) {
	v := reflect.ValueOf(&s.Actions).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsNil() {
			return fieldName(v.Type().Field(i)), f.Interface().(Action)
		}
	}
	return "", nil
}

// Kinds are the names of all actions, in the order of Actions.
func Kinds() []string {
	t := reflect.TypeFor[Actions]()
	var names []string
	for i := range t.NumField() {
		names = append(names, fieldName(t.Field(i)))
	}
	return names
}

// fieldName is how a field is called in YAML; "" for one that is not there.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// Title is what people see of a step: its name, else its action.
func (s *Step) Title() string {
	if s.Name != "" {
		return s.Name
	}
	if kind, _ := s.Action(); kind != "" {
		return kind
	}
	return "group"
}

// Leaf is a step with an action and its place in the sequence.
type Leaf struct {
	Path   string  // positions from the top, from 1: "2/1"
	Number int     // among all leaves, from 1; disabled ones do not count
	Step   *Step   // its conditions are not those of its groups
	Groups []*Step // outermost first: their conditions count for it as well
}

// Leaves are the leaves of a sequence in the order in which they run, without
// those that are disabled. Server and agent number steps by it.
func (s *Sequence) Leaves() []Leaf {
	var all []Leaf
	var walk func(list []Step, path string, groups []*Step)
	walk = func(list []Step, path string, groups []*Step) {
		for i := range list {
			one := &list[i]
			if one.Disabled {
				continue
			}
			here := path + strconv.Itoa(i+1)
			if len(one.Steps) > 0 {
				walk(one.Steps, here+"/", append(groups[:len(groups):len(groups)], one))
				continue
			}
			all = append(all, Leaf{Path: here, Number: len(all) + 1, Step: one, Groups: groups})
		}
	}
	walk(s.Steps, "", nil)
	return all
}

// Leaf is the leaf of that path.
func (s *Sequence) Leaf(path string) (Leaf, error) {
	for _, l := range s.Leaves() {
		if l.Path == path {
			return l, nil
		}
	}
	return Leaf{}, fmt.Errorf("%w: sequence %s has no step %q", ErrInvalid, s.Name, path)
}

// ContentNames are the contents that a sequence names, each once, in the order of
// the file; variables in them are replaced by lookup. A text that cannot be
// resolved yet is left out: the sequence lists such contents by themselves.
func (s *Sequence) ContentNames(lookup func(string) (string, bool)) []string {
	var names []string
	seen := make(map[string]bool)
	add := func(text string) {
		name, err := Expand(text, lookup)
		if err != nil || name == "" || seen[name] {
			return
		}
		seen[name] = true
		names = append(names, name)
	}
	for _, name := range s.Contents {
		add(name)
	}
	for _, l := range s.Leaves() {
		_, action := l.Step.Action()
		if u, ok := action.(interface{ contents() []string }); ok {
			for _, name := range u.contents() {
				add(name)
			}
		}
	}
	return names
}
