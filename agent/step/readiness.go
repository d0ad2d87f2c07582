package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/deploy/sequence"
)

// checkReadiness says everything that is not as it should be.
func (e *engine) checkReadiness(_ context.Context, a *sequence.CheckReadiness) error {
	f := &e.o.Facts
	var wrong []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	// Firmware takes some of the memory for itself: a machine of 4 GiB shows less.
	const firmwareShare = 32
	if want := a.Memory.Bytes; want > 0 {
		have := int64(f.Memory) << 20
		need(have >= want-want/firmwareShare, "it has %d MiB of memory, %s are needed", f.Memory, a.Memory)
	}
	if a.DiskSize.Bytes > 0 || a.Disk != "" {
		wrong = append(wrong, e.checkDisk(a))
	}
	if want := a.FreeSpace.Bytes; want > 0 {
		free, err := machine.FreeSpace(pathOfSystem())
		wrong = append(wrong, err)
		need(err != nil || free >= want, "%d MiB are free on the volume of the system, %s are needed", free>>20, a.FreeSpace)
	}
	need(f.MHz == 0 || f.MHz >= a.CPUSpeed, "its processor has %d MHz, %d are needed", f.MHz, a.CPUSpeed)
	need(f.Cores >= a.CPUCores, "its processor has %d cores, %d are needed", f.Cores, a.CPUCores)
	need(len(a.Architecture) == 0 || slices.Contains(a.Architecture, f.Architecture), "its architecture is %s, want %s", f.Architecture, strings.Join(a.Architecture, " or "))
	firmware := e.o.Machine.Firmware()
	need(a.Firmware == "" || a.Firmware == sequence.FirmwareAny || a.Firmware == firmware, "its firmware is %s, want %s", firmware, a.Firmware)
	if a.SecureBoot != nil {
		need(f.SecureBoot == *a.SecureBoot, "Secure Boot is on: %t, want %t", f.SecureBoot, *a.SecureBoot)
	}
	need(a.TPM == "" || f.TPM == "" || atLeast(f.TPM, a.TPM), "it has TPM %s, %s is needed", f.TPM, a.TPM)
	need(a.TPM == "" || f.TPM != "", "it has no TPM, or one that is switched off: TPM %s is needed", a.TPM)
	need(!a.MainsPower || !f.OnBattery, "it runs on its battery: connect the power supply")
	need(!a.Wired || wired(f), "it is not connected by cable")
	var texts []string
	for _, err := range wrong {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

func (e *engine) checkDisk(a *sequence.CheckReadiness) error {
	disks, err := e.o.Machine.Disks()
	if err != nil {
		return err
	}
	d, err := disk.Choose(disks, a.Disk)
	if err != nil {
		return err
	}
	if d.Size < a.DiskSize.Bytes {
		return fmt.Errorf("disk %s has %d MB, %d are needed", d.Path, d.Size/1e6, a.DiskSize.Bytes/1e6)
	}
	return nil
}

// atLeast compares versions as in 1.2 and 2.0; none is less than any.
func atLeast(have, want string) bool {
	h, err := strconv.ParseFloat(have, 64)
	if err != nil {
		return false
	}
	w, err := strconv.ParseFloat(want, 64)
	return err != nil || h >= w
}

func wired(f *sequence.Facts) bool {
	return slices.ContainsFunc(f.NICs, func(n sequence.NICFacts) bool { return !n.Wireless && n.Link && len(n.Addresses) > 0 })
}
