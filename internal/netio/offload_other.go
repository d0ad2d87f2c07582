//go:build !linux

package netio

func segmentationRefused(error) bool { return false }
