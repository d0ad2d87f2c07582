// Package named is about things that people give names to: collections, deployments,
// sequences. Each has an id of its own, a name that no other of its kind has whatever
// the letter case, and a row in the database.
package named

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// Errors told apart with errors.Is.
var (
	ErrInvalid   = sequence.ErrInvalid
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("more than one has that name")
	ErrExists    = errors.New("exists already")
	ErrInUse     = errors.New("is in use")
)

// Invalid is an ErrInvalid that says what was wanted.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// MaxNotes bounds what people write about a thing, in bytes.
const MaxNotes = 4096

var pattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$`)

// Check refuses what cannot be a name.
func Check(name string) error {
	if !pattern.MatchString(name) {
		return Invalid("name %q: want up to 63 letters, digits, blanks, dots, hyphens and underscores", name)
	}
	return nil
}

// NewID makes an id that nothing has.
func NewID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: see its documentation
	return hex.EncodeToString(b[:])
}

// Find finds one of many by its id, its name, or the beginning of either when only
// one has it. ErrNotFound, ErrAmbiguous.
func Find[T any](all map[string]T, text string, id, name func(T) string) (T, error) {
	want := strings.ToLower(strings.TrimSpace(text))
	var none T
	var found []T
	for _, one := range all {
		switch {
		case id(one) == want, strings.ToLower(name(one)) == want:
			return one, nil
		case want != "" && (strings.HasPrefix(id(one), want) || strings.HasPrefix(strings.ToLower(name(one)), want)):
			found = append(found, one)
		}
	}
	switch len(found) {
	case 0:
		return none, fmt.Errorf("%w: %q", ErrNotFound, text)
	case 1:
		return found[0], nil
	}
	return none, fmt.Errorf("%w: %q is the beginning of %s and %s", ErrAmbiguous, text, name(found[0]), name(found[1]))
}

// Put writes the row of a thing. ErrExists: another one has its name.
func Put(ctx context.Context, s *store.Store, t store.Table, id, name string, changed time.Time, body any) error {
	b, err := json.Marshal(body)
	if err == nil {
		err = s.PutNamed(ctx, t, store.Named{ID: id, Name: name, Body: b, Changed: changed})
	}
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("%w: a %s is called %s", ErrExists, t, name)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", t, name, err)
	}
	return nil
}
