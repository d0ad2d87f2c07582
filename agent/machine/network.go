package machine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"castpoint/deploy/sequence"
)

// errOwnOrder says that a machine's next start cannot be chosen.
var errOwnOrder = errors.New("what it starts by is the firmware's own order: the network has to come first in it")

// BootNetwork has the firmware boot from the network at its next start, and only
// then, and says by which entry of its menu. mac is of the card that the machine
// netbooted by.
func (l *Linux) BootNetwork(ctx context.Context, mac string) (entry string, err error) {
	if l.Firmware() != sequence.FirmwareUEFI {
		return "", errOwnOrder
	}
	r, err := l.programs.Run(ctx, Program{Args: []string{"efibootmgr", "-v"}})
	if err == nil && r.Code != 0 {
		err = &ExitError{Program: "efibootmgr", Code: r.Code, Tail: r.Tail}
	}
	if err != nil {
		return "", fmt.Errorf("read the boot menu of the firmware: %w", err)
	}
	menu := parseBootMenu(r.Tail)
	number := menu.network(mac)
	if !l.onDisk && menu.current != "" {
		number = menu.current // what has booted the boot environment
	}
	if number == "" {
		return "", errors.New("the firmware's boot menu has no entry for the network")
	}
	if err := must(ctx, l.programs, Program{Args: []string{"efibootmgr", "--quiet", "--bootnext", number}}); err != nil {
		return "", fmt.Errorf("choose what the firmware boots next: %w", err)
	}
	return strings.TrimSpace(number + " " + menu.labels[number]), nil
}

// network is the entry that boots from the network: by the card with that MAC rather
// than by another, with IPv4 rather than IPv6, the first in the firmware's order.
func (m *bootMenu) network(mac string) (number string) {
	digits := strings.ToUpper(strings.ReplaceAll(mac, ":", ""))
	best := 0
	for _, n := range m.order {
		path := strings.ToUpper(m.paths[n])
		if !strings.Contains(path, "MAC(") {
			continue
		}
		score := 1
		if digits != "" && strings.Contains(path, "MAC("+digits) {
			score += 2
		}
		if strings.Contains(path, "IPV4(") {
			score++
		}
		if score > best {
			best, number = score, n
		}
	}
	return number
}

// BootNetwork has the firmware boot from the network at its next start, and only
// then.
func (w *Windows) BootNetwork(ctx context.Context, mac string) (entry string, err error) {
	if w.firmware != sequence.FirmwareUEFI {
		return "", errOwnOrder
	}
	r, err := w.programs.Run(ctx, Program{Args: []string{"bcdedit", "/enum", "firmware"}})
	if err == nil && r.Code != 0 {
		err = &ExitError{Program: "bcdedit", Code: r.Code, Tail: r.Tail}
	}
	if err != nil {
		return "", fmt.Errorf("read the boot menu of the firmware: %w", err)
	}
	id, label := networkEntry(r.Tail, mac)
	if id == "" {
		return "", errors.New("the firmware's boot menu has no entry for the network")
	}
	if err := must(ctx, w.programs, Program{Args: []string{"bcdedit", "/set", "{fwbootmgr}", "bootsequence", id}}); err != nil {
		return "", fmt.Errorf("choose what the firmware boots next: %w", err)
	}
	return label, nil
}

var (
	entryID = regexp.MustCompile(`\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}`)
	// networkWords are how firmware calls entries for the network, the better ones
	// first.
	networkWords = []string{"IPV4", "PXEV4", "PXE", "NETWORK", "LAN", "NIC", "HTTP"}
)

// networkEntry reads what bcdedit prints, in any language: blocks of lines, of which
// one has the entry's identifier in braces and a later one its description.
func networkEntry(text, mac string) (id, label string) {
	digits := strings.ToUpper(strings.ReplaceAll(mac, ":", ""))
	best := 0
	for block := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		guid := entryID.FindString(block)
		_, rest, _ := strings.Cut(block, guid)
		if guid == "" {
			continue
		}
		for line := range strings.Lines(rest) {
			_, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			value = strings.TrimSpace(value)
			upper := strings.ToUpper(value)
			score := 0
			for i, word := range networkWords {
				if hasWord(upper, word) {
					score = max(score, len(networkWords)-i)
				}
			}
			if score > 0 && digits != "" && strings.Contains(strings.NewReplacer(":", "", "-", "").Replace(upper), digits) {
				score += 10
			}
			if score > best {
				best, id, label = score, guid, value
			}
		}
	}
	return id, label
}

// hasWord says whether a word is in a text, and not as a part of a longer one: PXEv4
// counts as PXE, PLAN not as LAN.
func hasWord(text, word string) bool {
	at := strings.Index(text, word)
	return at >= 0 && (at == 0 || !('A' <= text[at-1] && text[at-1] <= 'Z'))
}
