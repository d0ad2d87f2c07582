package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost of a password: the second choice of RFC 9106 section 4, with one lane,
// because the logins of an appliance come one at a time.
const (
	hashTime     = 3
	hashMemory   = 64 << 10 // KiB
	hashLanes    = 1
	hashSalt     = 16 // bytes
	hashKey      = 32
	hashesAtOnce = 2
)

// cost is what a new hash takes.
type cost struct{ time, memory uint32 }

// Limits of a password, in bytes. NIST SP 800-63B section 5.1.1 asks for length
// and for nothing else.
const (
	minPassword = 10
	maxPassword = 256
)

func checkPassword(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return fmt.Errorf("%w: a password has %d to %d characters", ErrInvalid, minPassword, maxPassword)
	}
	return nil
}

// slowly runs f when there is memory for one more hash.
func (a *Access) slowly(ctx context.Context, f func()) error {
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.hashing }()
	f()
	return nil
}

// hashPassword makes a PHC string.
func (a *Access) hashPassword(ctx context.Context, password string) (phc string, err error) {
	salt := make([]byte, hashSalt)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	err = a.slowly(ctx, func() {
		key := argon2.IDKey([]byte(password), salt, a.cost.time, a.cost.memory, hashLanes, hashKey)
		phc = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.cost.memory, a.cost.time, hashLanes,
			base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
	})
	return phc, err
}

// guess is matches for somebody who shows a password at an address: only when it is the
// turn of this one it counts how many were wrong, so that many at once are no more tries
// than one after the other. The error may be a *LockedError.
func (a *Access) guess(ctx context.Context, name string, remote netip.Addr, phc, password string) (ok bool, err error) {
	var locked *LockedError
	ok, err = a.compare(ctx, phc, password[:min(len(password), maxPassword+1)], func(compare func() bool) bool {
		if until := a.lockout.locked(name, remote); !until.IsZero() {
			locked = &LockedError{until}
			return false
		}
		fits := compare()
		if !fits {
			a.lockout.fail(name, remote)
		}
		return fits
	})
	if err == nil && locked != nil {
		return false, locked
	}
	return ok, err
}

// matches says whether a password is the one of a PHC string.
func (a *Access) matches(ctx context.Context, phc, password string) (ok bool, err error) {
	return a.compare(ctx, phc, password, func(compare func() bool) bool { return compare() })
}

// compare has turn compare a password with a PHC string when there is memory for it.
func (a *Access) compare(ctx context.Context, phc, password string, turn func(compare func() bool) bool) (ok bool, err error) {
	var version int
	var memory, time uint32
	var lanes uint8
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false, fmt.Errorf("a stored password is no argon2id hash")
	}
	if _, err := fmt.Sscanf(part[2]+" "+part[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &time, &lanes); err != nil || version != argon2.Version {
		return false, fmt.Errorf("a stored password has parameters that are not known: %s %s", part[2], part[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(part[4])
	if err != nil {
		return false, fmt.Errorf("a stored password: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(part[5])
	if err != nil {
		return false, fmt.Errorf("a stored password: %w", err)
	}
	err = a.slowly(ctx, func() {
		ok = turn(func() bool {
			key := argon2.IDKey([]byte(password), salt, time, memory, lanes, uint32(len(want)))
			return subtle.ConstantTimeCompare(key, want) == 1
		})
	})
	return ok, err
}
