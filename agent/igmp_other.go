//go:build !linux

package agent

import "net"

func listenQueries(*net.Interface) func() (known bool, count int, from string) {
	return func() (bool, int, string) { return false, 0, "" }
}

func udpDrops() int { return 0 }
