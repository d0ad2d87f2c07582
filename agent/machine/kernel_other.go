//go:build !linux

package machine

import "errors"

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
