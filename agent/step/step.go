package step

import (
	"context"
	"io"
	"os"
	"time"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// Machine is what steps do to a machine. [machine.Linux] and [machine.Windows] are
// the two there are.
type Machine interface {
	Environment() string
	Firmware() string
	Disks() ([]disk.Disk, error)
	OpenRecord(d disk.Disk) (*os.File, error)

	Partition(ctx context.Context, p *disk.Plan) error
	Wipe(ctx context.Context, d disk.Disk, step *sequence.WipeDisk, percent func(float64)) error
	Folder(ctx context.Context, v disk.Volume) (string, error)
	Release() error
	// Flush has what was written to volumes be on the disk: what a step is said to have
	// done must outlast the power.
	Flush(volumes []disk.Volume) error
	// BootNetwork has the firmware boot from the network next, by the card with that
	// MAC if it can be had, and says by which entry of its menu.
	BootNetwork(ctx context.Context, mac string) (entry string, err error)

	ApplyImage(ctx context.Context, p *disk.Plan, v disk.Volume, im machine.Image) error
	ApplyFiles(ctx context.Context, v disk.Volume, folder string, im machine.Image) error
	Extract(ctx context.Context, file, folder string) error
	Capture(ctx context.Context, v disk.Volume, file, image, compression string, percent func(float64)) error
	Bootloader(ctx context.Context, p *disk.Plan, system, os disk.Volume, step *sequence.InstallBootloader) error
	AddDrivers(ctx context.Context, windows disk.Volume, folder, name, arch string, unsigned bool) error
	ApplyAnswers(ctx context.Context, windows disk.Volume) error

	Programs() machine.Programs
	Shell(command string) machine.Program
	PowerShell(step *sequence.RunPowerShell, file string) (machine.Program, error)
	JoinDomain(ctx context.Context, d *sequence.Domain) error
	EnableBitLocker(ctx context.Context, drive string, step *sequence.EnableBitLocker) (recovery string, err error)
	SuspendBitLocker(ctx context.Context, drive string, restarts int) error
	Sysprep(ctx context.Context, program, mode, unattend string) error
}

// Server is the server, as a run sees it. Its methods do not try again by
// themselves.
type Server interface {
	Step(ctx context.Context, s protocol.StepStatus) (protocol.Order, error)
	End(ctx context.Context, e protocol.RunEnd) error
	// Order waits a while for an order; an order of kind none is no error.
	Order(ctx context.Context) (protocol.Order, error)
	Ask(ctx context.Context, q protocol.Questions) error
	TakeBack(ctx context.Context, q protocol.Questions) error
	Answer(ctx context.Context, a protocol.Answers) error
	Log(ctx context.Context, name string, r io.Reader) error
	Receive(ctx context.Context, w Wanted) error
}

// Wanted is a content that a step wants.
type Wanted struct {
	Content protocol.RunContent
	From    string // one of sequence.From...
	Out     string // a file or a block device; of a content of several files a folder
	// Patience is how long to go on without anything new; 0 means sequence.Patience.
	Patience time.Duration
	Percent  func(float64) // is told how far it is
}

// Person is who stands before the machine.
type Person interface {
	Say(text string)
	// Progress shows what runs: a line, and percent of it (below 0: not known).
	Progress(text string, percent float64)
	// Trouble shows what has failed, and what to do: paragraphs that stay where they are
	// seen until the next call. nil is for when it is over.
	Trouble(lines []string)
	// Ask asks questions; it returns at the end of ctx when nobody answers.
	Ask(ctx context.Context, questions []sequence.Question) (map[string]string, error)
}

// Options are what a run needs.
type Options struct {
	Run     *protocol.Run
	Machine Machine
	Server  Server
	Person  Person
	Facts   sequence.Facts
	MAC     string // of the card that the machine booted from
	// Memory is a folder that is gone after a restart: for what there is no disk
	// for yet.
	Memory string
	// Continue makes the operating system below a folder go on with the run when it
	// starts; nil where that is not possible.
	Continue func(ctx context.Context, folder string) error
	// Resident says that the agent was started by the operating system on the disk,
	// and is started by it again.
	Resident bool
}

// Ends of a run, as far as the machine is concerned.
const (
	EndSucceeded = "succeeded"
	EndRestart   = "restart" // the run goes on after a restart
	EndReboot    = "reboot"  // it has succeeded, and its last step is a restart
	EndOrdered   = "ordered" // it has failed, and the console wants a restart
)
