package sequence

// SetVariable sets a variable.
type SetVariable struct {
	Name   string `yaml:"name" json:"name" doc:"The variable." raw:"true"`
	Value  string `yaml:"value,omitempty" json:"value,omitempty" doc:"Its value; without it, it is empty."`
	Secret bool   `yaml:"secret,omitempty" json:"secret,omitempty" doc:"It is never shown or logged."`
}

// SetDynamicVariables sets variables by rules.
type SetDynamicVariables struct {
	Rules []Rule `yaml:"rules" json:"rules" doc:"Every rule that fits sets its variables, in order: later ones win."`
	First bool   `yaml:"first,omitempty" json:"first,omitempty" doc:"Only the first rule that fits counts."`
}

// Rule sets variables when all that it names fits the machine.
type Rule struct {
	Manufacturer string            `yaml:"manufacturer,omitempty" json:"manufacturer,omitempty" doc:"The maker, with * and ?, whatever the letter case: Dell*." raw:"true"`
	Model        string            `yaml:"model,omitempty" json:"model,omitempty" doc:"The model, in the same way." raw:"true"`
	When         Condition         `yaml:"when,omitempty" json:"when,omitempty" doc:"Expressions that have to be true."`
	Variables    map[string]string `yaml:"variables" json:"variables" doc:"What is set then."`
}

// CheckReadiness fails a machine that is not fit. Fields that are left out do not
// matter.
type CheckReadiness struct {
	Memory       Extent   `yaml:"memory,omitempty" json:"memory,omitempty" doc:"At least: 4GiB."`
	Disk         string   `yaml:"disk,omitempty" json:"disk,omitempty" doc:"The disk of disk-size, as in partition-disk."`
	DiskSize     Extent   `yaml:"disk-size,omitempty" json:"disk-size,omitempty" doc:"At least: 64GB."`
	FreeSpace    Extent   `yaml:"free-space,omitempty" json:"free-space,omitempty" doc:"At least, on the volume of the running Windows."`
	CPUSpeed     int      `yaml:"cpu-speed,omitempty" json:"cpu-speed,omitempty" doc:"At least, in MHz."`
	CPUCores     int      `yaml:"cpu-cores,omitempty" json:"cpu-cores,omitempty" doc:"At least."`
	Architecture []string `yaml:"architecture,omitempty" json:"architecture,omitempty" enum:"amd64,arm64,x86" doc:"One of these."`
	Firmware     string   `yaml:"firmware,omitempty" json:"firmware,omitempty" enum:"any,uefi,bios"`
	SecureBoot   *bool    `yaml:"secure-boot,omitempty" json:"secure-boot,omitempty" doc:"On, or off."`
	TPM          string   `yaml:"tpm,omitempty" json:"tpm,omitempty" doc:"At least this version: 2.0."`
	MainsPower   bool     `yaml:"mains-power,omitempty" json:"mains-power,omitempty" doc:"It does not run on its battery."`
	Wired        bool     `yaml:"wired,omitempty" json:"wired,omitempty" doc:"It is connected by cable."`
}

// Where questions are answered.
const (
	AtMachine = "machine"
	AtConsole = "console"
	AtBoth    = "both"
)

// Ask asks a person.
type Ask struct {
	Questions []Question `yaml:"questions" json:"questions"`
	At        string     `yaml:"at,omitempty" json:"at,omitempty" enum:"machine,console,both" doc:"Who may answer: the person at the machine, the one at the server's console, or either (the default)."`
}

// Question is one question; its answer becomes a variable.
type Question struct {
	Variable string   `yaml:"variable" json:"variable" doc:"The variable that the answer is put in." raw:"true"`
	Prompt   string   `yaml:"prompt" json:"prompt" doc:"The question."`
	Default  string   `yaml:"default,omitempty" json:"default,omitempty" doc:"The answer when none is given; without it the value that the variable has."`
	Choices  []string `yaml:"choices,omitempty" json:"choices,omitempty" doc:"The answers that can be given."`
	Pattern  string   `yaml:"pattern,omitempty" json:"pattern,omitempty" doc:"A regular expression that the whole answer matches." raw:"true"`
	Secret   bool     `yaml:"secret,omitempty" json:"secret,omitempty" doc:"The answer is not shown or logged."`
	Optional bool     `yaml:"optional,omitempty" json:"optional,omitempty" doc:"The answer may be empty."`
}
