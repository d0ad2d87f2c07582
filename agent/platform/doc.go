// Package platform is what the agent needs of the boot environment that it runs
// in: the network, the clock, a status screen with a way to a command prompt. In
// Linux the boot environment's /init has brought the network up already; in
// Windows PE the agent does it.
//
// Terms:
//
//   - a console is a text screen that can be written to at any place, and its
//     keyboard; a serial line is none, and gets lines;
//   - a card is a network adapter that the system has a driver for;
//   - a driverless device is a network adapter that it has none for, known by
//     its PCI hardware id.
package platform

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// Platform is the system below the agent. New makes the one of this machine.
type Platform interface {
	// Network returns when this machine has an address; mac is of the card that
	// it booted from, "" for any. It tells say what it waits for.
	Network(ctx context.Context, mac string, say func(string)) ([]Card, error)
	// SetClock sets the clock of the system, where that may be done.
	SetClock(now time.Time) error
	// Console opens the full-screen console behind out, nil when out is none.
	Console(out io.Writer) Console
	// Prompt opens a command prompt. It returns when it is left, or at once when
	// it has a window of its own.
	Prompt(ctx context.Context) error
}

// Console is a text screen and its keyboard.
type Console interface {
	// Size is the number of columns and rows.
	Size() (width, height int)
	// Draw shows the lines from the top, each as wide as the screen.
	Draw(lines []string) error
	// Key waits for a key; it returns at the end of ctx.
	Key(ctx context.Context) (Key, error)
	// Close gives the screen back.
	Close() error
}

// Key is a key: a character that can be typed, or one of these.
type Key rune

// Keys that are no characters.
const (
	KeyPrompt Key = -iota - 1 // F8 asks for a command prompt
	KeyUp
	KeyDown
	KeyEnter
	KeyBack
)

// Card is a network adapter with a driver.
type Card struct {
	Name      string
	MAC       string // lower case, with colons
	Link      bool   // a cable, and something at its other end
	Addresses []netip.Addr
}

// usable is the card's address that other machines can reach: none of those that
// a system gives itself when nobody answers DHCP.
func (c *Card) usable() (netip.Addr, bool) {
	for _, a := range c.Addresses {
		if a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() {
			return a, true
		}
	}
	return netip.Addr{}, false
}
