package boot

import "time"

// Idle says what iPXE does when there is nothing to boot.
type Idle struct {
	// Exit leaves iPXE for the firmware's next boot device after Wait; without
	// it iPXE asks again every Wait.
	Exit bool
	// Wait is how long it first shows why; 0 is 30 s, or no time with Exit. Whole
	// seconds count.
	Wait time.Duration
	// ExitCode is iPXE's exit status, usually 1: with 0 some firmware takes the
	// boot as done and opens its setup instead of trying the disk.
	ExitCode int
}
