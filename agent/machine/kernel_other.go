//go:build !linux

package machine

import (
	"errors"
	"os"
)

// noKernel is what there is where the Linux machine is not used.
type noKernel struct{}

var errNotLinux = errors.New("only Linux can do this")

func newKernel() kernel { return noKernel{} }

func (noKernel) mount(string, string, string) error { return errNotLinux }
func (noKernel) unmount(string) error               { return errNotLinux }
func (noKernel) flush(string, string) error         { return errNotLinux }
func (noKernel) sync()                              {}
func (noKernel) bind(string, string) error          { return errNotLinux }

func (noKernel) loop(string, int64, int64) (string, func() error, error) {
	return "", nil, errNotLinux
}

func (noKernel) nvmeNamespace(string) (uint32, error) { return 0, errNotLinux }
func (noKernel) nvme(string, nvmeCommand) error       { return errNotLinux }
func (noKernel) discardSecurely(string, int64) error  { return errNotLinux }

func forget(*os.File) error { return errNotLinux }
