//go:build !linux

package httpconn

import "syscall"

// sending knows nothing here.
func sending(syscall.Conn) (sendState, bool) { return sendState{}, false }
