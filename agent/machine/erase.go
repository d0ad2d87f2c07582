package machine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"castpoint/agent/disk"
)

// The buses whose disks have a command of their own that erases them. What hangs on
// others (SAS, virtio, USB) has none that is the same for all.
const (
	busNVMe = "nvme"
	busSATA = "sata"
	busMMC  = "mmc"
)

// errNoErase is the end of a disk that cannot erase itself: what people do then.
var errNoErase = errors.New("take the method random or zero for it")

// secureErase has a disk erase itself, and looks whether it has.
func (l *Linux) secureErase(ctx context.Context, d disk.Disk) error {
	before, err := samples(d)
	if err != nil {
		return err
	}
	switch d.Bus {
	case busNVMe:
		err = l.eraseNVMe(d)
	case busSATA:
		err = l.eraseATA(ctx, d)
	case busMMC:
		if err = l.kernel.discardSecurely(d.Path, d.Size); err != nil {
			err = fmt.Errorf("it refuses secure discard: %w: %w", err, errNoErase)
		}
	default:
		err = fmt.Errorf("it hangs on %s: only NVMe, SATA and eMMC disks have a command that erases them: %w", orUnknown(d.Bus), errNoErase)
	}
	if err != nil {
		return err
	}
	after, err := samples(d)
	if err != nil {
		return err
	}
	return erased(before, after)
}

func orUnknown(bus string) string {
	if bus == "" {
		return "a bus that is not known"
	}
	return bus
}

const (
	sampleCount = 256
	sampleSize  = 4096
)

// A sample is a piece of a disk.
type sample struct {
	at   int64
	data []byte
}

// samples reads pieces all over a disk, its beginning and its end among them.
func samples(d disk.Disk) (list []sample, err error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := forget(f); err != nil {
		return nil, fmt.Errorf("read the disk anew: %w", err)
	}
	last := d.Size/sampleSize - 1
	for i := range int64(sampleCount) {
		s := sample{at: last * i / (sampleCount - 1) * sampleSize, data: make([]byte, sampleSize)}
		if _, err := f.ReadAt(s.data, s.at); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the disk at byte %d: %w", s.at, err)
		}
		list = append(list, s)
	}
	return list, nil
}

// erased compares: there are disks, and bridges before disks, that say done and have
// done nothing. Pieces of one byte only say nothing, they may be what erasing leaves.
func erased(before, after []sample) error {
	for i, b := range before {
		if uniform := bytes.Count(b.data, b.data[:1]) == len(b.data); !uniform && bytes.Equal(b.data, after[i].data) {
			return fmt.Errorf("it says that it has erased itself, and what was at byte %d is still there: %w", b.at, errNoErase)
		}
	}
	return nil
}

// Admin commands of NVMe (NVM Express Base Specification 2.0, section 5), and
// what Identify returns.
const (
	nvmeIdentify = 0x06
	nvmeFormat   = 0x80

	identifyNamespace  = 0 // CNS
	identifyController = 1
	identifyActive     = 2 // the numbers of all namespaces
	identifySize       = 4096

	// Some drives take as long as the writing of all of it would.
	formatTime = 12 * time.Hour
)

// nvmeCommand is an admin command; data is read from the drive.
type nvmeCommand struct {
	opcode    byte
	namespace uint32
	cdw10     uint32
	data      []byte
	timeout   time.Duration // 0 is the kernel's own
}

// eraseNVMe formats the namespace with all that was in it erased.
func (l *Linux) eraseNVMe(d disk.Disk) error {
	id, err := l.kernel.nvmeNamespace(d.Path)
	if err != nil {
		return fmt.Errorf("ask the drive for the number of its namespace: %w", err)
	}
	identify := func(cns, namespace uint32) ([]byte, error) {
		b := make([]byte, identifySize)
		if err := l.kernel.nvme(d.Path, nvmeCommand{opcode: nvmeIdentify, namespace: namespace, cdw10: cns, data: b}); err != nil {
			return nil, fmt.Errorf("ask the drive what it can: %w", err)
		}
		return b, nil
	}
	controller, err := identify(identifyController, 0)
	if err != nil {
		return err
	}
	namespace, err := identify(identifyNamespace, id)
	if err != nil {
		return err
	}
	// Older drives have one namespace and no list of them.
	var active []byte
	if binary.LittleEndian.Uint32(controller[516:]) > 1 {
		if active, err = identify(identifyActive, 0); err != nil {
			return err
		}
	}
	cdw10, err := formatWord(controller, namespace, active)
	if err != nil {
		return err
	}
	if err := l.kernel.nvme(d.Path, nvmeCommand{opcode: nvmeFormat, namespace: id, cdw10: cdw10, timeout: formatTime}); err != nil {
		return fmt.Errorf("the drive has not formatted itself: %w", err)
	}
	return nil
}

// formatWord is dword 10 of Format NVM: the layout that the namespace has, and
// all user data erased (SES 1). Offsets are those of the Identify structures.
func formatWord(controller, namespace, active []byte) (uint32, error) {
	const (
		oacs, fna   = 256, 524 // of the controller
		flbas, dps  = 26, 29   // of the namespace
		canFormat   = 1 << 1
		formatsAll  = 1 << 0
		erasesAll   = 1 << 1
		eraseToData = 1 << 9 // SES: user data erase
	)
	if controller[oacs]&canFormat == 0 {
		return 0, fmt.Errorf("the drive does not know the command Format NVM: %w", errNoErase)
	}
	count := 0
	for at := 0; at+4 <= len(active) && binary.LittleEndian.Uint32(active[at:]) != 0; at += 4 {
		count++
	}
	if count > 1 && controller[fna]&(formatsAll|erasesAll) != 0 {
		return 0, fmt.Errorf("the drive has %d namespaces, and can only erase all of them at once: %w", count, errNoErase)
	}
	layout, protection := uint32(namespace[flbas]), uint32(namespace[dps])
	return layout&0x1f | // number of the layout, low bits, and where metadata is
		protection&7<<5 | protection>>3&1<<8 | // end-to-end protection as it is
		eraseToData |
		layout>>5&3<<12, nil // number of the layout, high bits
}

// erasePassword is on the disk while it erases itself (ATA wants one). A disk that
// loses power then is locked with it, which the next try sees.
const erasePassword = "castpoint"

// eraseATA is SECURITY ERASE UNIT (ACS-3 section 7.36), by hdparm.
func (l *Linux) eraseATA(ctx context.Context, d disk.Disk) error {
	hdparm := func(args ...string) (Result, error) {
		return l.programs.Run(ctx, Program{Args: append(append([]string{"hdparm"}, args...), d.Path)})
	}
	security := func() (ataSecurity, error) {
		r, err := hdparm("-I")
		if err == nil && r.Code != 0 {
			err = &ExitError{Program: "hdparm", Code: r.Code, Tail: r.Tail}
		}
		if err != nil {
			return ataSecurity{}, fmt.Errorf("ask the disk what it can: %w", err)
		}
		return parseSecurity(r.Tail), nil
	}
	s, err := security()
	if err != nil {
		return err
	}
	if !s.supported {
		return fmt.Errorf("the disk does not know the command SECURITY ERASE UNIT: %w", errNoErase)
	}
	if s.frozen {
		return fmt.Errorf("the machine's firmware has frozen the disk's security commands until it is switched off and on: "+
			"switch that off in its setup (HDD security freeze lock), or %w", errNoErase)
	}
	run := func(what string, args ...string) error {
		r, err := hdparm(append([]string{"--user-master", "u"}, args...)...)
		if err == nil && r.Code != 0 {
			err = &ExitError{Program: "hdparm", Code: r.Code, Tail: r.Tail}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if s.locked {
		if err := run("the disk is locked, and not with castpoint's password: unlock it", "--security-unlock", erasePassword); err != nil {
			return err
		}
	}
	if !s.enabled {
		if err := run("give the disk a password", "--security-set-pass", erasePassword); err != nil {
			return err
		}
	}
	erase := "--security-erase"
	if s.enhanced {
		erase = "--security-erase-enhanced" // sectors that were replaced, too
	}
	if err := run("the disk has not erased itself", erase, erasePassword); err != nil {
		return errors.Join(err, run("take the password from it", "--security-disable", erasePassword))
	}
	// Erasing takes the password away.
	if s, err = security(); err != nil {
		return err
	}
	if s.enabled {
		return errors.Join(errors.New("the disk says that it has erased itself, and still has its password"),
			run("take the password from it", "--security-disable", erasePassword))
	}
	return nil
}

// ataSecurity is what hdparm -I says of a disk's security.
type ataSecurity struct{ supported, enabled, locked, frozen, enhanced bool }

// parseSecurity reads the part Security of hdparm -I: words in lines of their own,
// with "not" before them where they are not so.
func parseSecurity(text string) (s ataSecurity) {
	_, text, found := strings.Cut(text, "Security:")
	if !found {
		return s
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "\t") && strings.TrimSpace(line) != "" {
			break // the next part
		}
		switch strings.Join(strings.Fields(line), " ") {
		case "supported":
			s.supported = true
		case "enabled":
			s.enabled = true
		case "locked":
			s.locked = true
		case "frozen":
			s.frozen = true
		case "supported: enhanced erase":
			s.enhanced = true
		}
	}
	return s
}
