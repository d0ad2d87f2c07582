//go:build !windows

package machine

import "errors"

func flushVolume(string) error { return errors.New("only Windows can flush a volume by its letter") }
