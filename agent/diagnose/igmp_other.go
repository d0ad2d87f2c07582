//go:build !linux

package diagnose

import "net"

func ListenQueries(*net.Interface) func() (known bool, count int, from string) {
	return func() (bool, int, string) { return false, 0, "" }
}

func UDPDrops() int { return 0 }
