package machine

// New makes the machine of this boot environment.
func New() (*Linux, error) { return NewLinux(System{}), nil }

// NewOnDisk makes the machine of the system on the disk, which runs. Linux needs no
// folder for scripts.
func NewOnDisk(string) (*Linux, error) { return NewLinuxOnDisk(System{}), nil }
