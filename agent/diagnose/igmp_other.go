//go:build !linux

package diagnose

import "net"

// ListenQueries knows nothing here.
func ListenQueries(*net.Interface) func() (known bool, count int, from string) {
	return func() (bool, int, string) { return false, 0, "" }
}

// UDPDrops knows nothing here.
func UDPDrops() int { return 0 }
