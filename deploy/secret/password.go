package secret

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"

	"castpoint/deploy/named"
)

// Lengths of passwords that people type at machines, in bytes; bcrypt takes no more.
const (
	shortestPassword = 6
	longestPassword  = 72
)

// HashPassword makes what is kept of a password; "" of none.
func HashPassword(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	if len(password) < shortestPassword || len(password) > longestPassword {
		return "", named.Invalid("password: want %d to %d bytes", shortestPassword, longestPassword)
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return string(h), nil
}

// MatchPassword says whether a password is the one that a hash was made of; every one
// is when there is no hash.
func MatchPassword(hash, password string) (bool, error) {
	if hash == "" {
		return true, nil
	}
	switch err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); {
	case err == nil:
		return true, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	default:
		return false, fmt.Errorf("compare a password: %w", err)
	}
}
