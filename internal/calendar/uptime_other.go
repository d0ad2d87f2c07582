//go:build !linux

package calendar

import "time"

// uptime is not known here.
func uptime() (host string, up time.Duration) { return "", 0 }
