package machine

// New makes the machine of this boot environment.
func New() (*Linux, error) { return NewLinux(System{}), nil }
