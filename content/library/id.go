package library

import (
	"strconv"
	"strings"
	"unicode"

	"castpoint/content"
)

// slug makes an ID of a name; the kind serves where nothing of the name is left.
func slug(name string, kind content.Kind) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case unicode.IsMark(r) || r == '\'' || r == '®' || r == '™':
			// part of the word it is in
		default:
			if s := b.String(); s != "" && s[len(s)-1] != '-' {
				b.WriteByte('-')
			}
		}
	}
	s := strings.Trim(b.String(), "-")
	if len(s) > content.MaxID-8 { // room for a number
		s = strings.Trim(s[:content.MaxID-8], "-")
	}
	if s == "" {
		s = string(kind)
	}
	return s
}

// freeID makes the ID for a new content unique by a number behind it.
func freeID(base string, used func(string) bool) string {
	id := base
	if len(base) > content.MaxID-8 { // room for the number
		base = strings.Trim(base[:content.MaxID-8], "-")
	}
	for n := 2; used(id); n++ {
		id = base + "-" + strconv.Itoa(n)
	}
	return id
}
