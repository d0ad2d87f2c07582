//go:build !linux

package machine

import (
	"errors"

	"castpoint/agent/disk"
)

var errLinuxOnly = errors.New("mounts can be listed under Linux only")

func mountPoints() (map[string]string, error) { return nil, errLinuxOnly }
func deviceNumber(string) (string, error)     { return "", errLinuxOnly }
func usedBy(disk.Disk) (string, error)        { return "", errLinuxOnly }
