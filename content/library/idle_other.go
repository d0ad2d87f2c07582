//go:build !linux

package library

func idleThread() {}
