package sequence

import "time"

// Exit says what exit codes mean.
type Exit struct {
	Success []int `yaml:"success,omitempty" json:"success,omitempty" doc:"Exit codes of success; 0 and 3010 without it, 3010 also asks for a restart."`
	Restart []int `yaml:"restart,omitempty" json:"restart,omitempty" doc:"Exit codes of success after which the machine restarts before the next step; 1641 without it."`
}

// InstallPackage runs a program of a package.
type InstallPackage struct {
	Content string `yaml:"content" json:"content" doc:"The package, by id or name."`
	Command string `yaml:"command" json:"command" doc:"The command line, run in the folder of the package."`
	Exit    `yaml:",inline"`
}

// RunCommand runs a command line.
type RunCommand struct {
	Command  string            `yaml:"command" json:"command" doc:"The command line: cmd /c on Windows, sh -c on Linux."`
	Content  string            `yaml:"content,omitempty" json:"content,omitempty" doc:"A package, in whose folder it runs."`
	Folder   string            `yaml:"folder,omitempty" json:"folder,omitempty" doc:"The folder that it runs in."`
	Env      map[string]string `yaml:"env,omitempty" json:"env,omitempty" doc:"Variables of its environment, beside the sequence's own, which it has with the prefix CP_."`
	Variable string            `yaml:"variable,omitempty" json:"variable,omitempty" doc:"A variable that is set to what it prints." raw:"true"`
	Exit     `yaml:",inline"`
}

// RunPowerShell runs a script.
type RunPowerShell struct {
	Script    string   `yaml:"script,omitempty" json:"script,omitempty" doc:"The text of the script. Variables are not replaced in it: it has them in its environment, with the prefix CP_." raw:"true"`
	Content   string   `yaml:"content,omitempty" json:"content,omitempty" doc:"A package that has the script."`
	File      string   `yaml:"file,omitempty" json:"file,omitempty" doc:"The script: a file of the package, or on the machine."`
	Arguments []string `yaml:"arguments,omitempty" json:"arguments,omitempty"`
	Policy    string   `yaml:"policy,omitempty" json:"policy,omitempty" enum:"bypass,all-signed,remote-signed" doc:"The execution policy; bypass is the default."`
	Variable  string   `yaml:"variable,omitempty" json:"variable,omitempty" doc:"A variable that is set to what it prints." raw:"true"`
	Exit      `yaml:",inline"`
}

func (a *InstallPackage) contents() []string { return []string{a.Content} }
func (a *RunCommand) contents() []string     { return []string{a.Content} }
func (a *RunPowerShell) contents() []string  { return []string{a.Content} }

// CopyLog keeps logs.
type CopyLog struct {
	Files  []string `yaml:"files,omitempty" json:"files,omitempty" doc:"Files, with * and ?; without them the logs of the sequence itself."`
	Folder string   `yaml:"folder,omitempty" json:"folder,omitempty" doc:"Where they go; without it to the server."`
}

// Where a restart leads.
const (
	RestartBootImage = "boot-image"
	RestartDisk      = "disk"
)

// ReturnTime is how long a machine may take to come back from a restart, when the
// step does not say it: the first start of a Windows takes up to an hour.
const ReturnTime = 2 * time.Hour

// Restart restarts the machine.
type Restart struct {
	Into    string   `yaml:"into" json:"into" enum:"boot-image,disk" doc:"boot-image is the boot environment once more, disk is the operating system that was applied."`
	Message string   `yaml:"message,omitempty" json:"message,omitempty" doc:"Shown before."`
	Delay   Duration `yaml:"delay,omitempty" json:"delay,omitempty" doc:"How long it is shown."`
	Within  Duration `yaml:"within,omitempty" json:"within,omitempty" doc:"The run has failed when the machine has not come back after this time; 2h without it."`
}

// Wait waits.
type Wait struct {
	For   Duration `yaml:"for,omitempty" json:"for,omitempty" doc:"So long."`
	Until string   `yaml:"until,omitempty" json:"until,omitempty" doc:"Until this expression is true; the step's timeout bounds it." raw:"true"`
	Every Duration `yaml:"every,omitempty" json:"every,omitempty" doc:"How often the expression is tried; 5s without it."`
}

// PrepareCapture runs Sysprep.
type PrepareCapture struct {
	Mode     string `yaml:"mode,omitempty" json:"mode,omitempty" enum:"oobe,audit" doc:"What Windows does at its next start; oobe is the default."`
	Unattend string `yaml:"unattend,omitempty" json:"unattend,omitempty" format:"xml" doc:"The text of an unattend.xml for Sysprep, as template of windows-settings."`
	KeepApps bool   `yaml:"keep-apps,omitempty" json:"keep-apps,omitempty" doc:"Leaves apps in place that were installed for one user; Sysprep may refuse them."`
}
