package asset

import (
	_ "embed"
	"encoding/hex"
	"strings"
)

// Known is a boot program whose hash is known.
type Known struct {
	SHA256  string `json:"sha256"`
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"`
}

//go:embed known.txt
var knownText string

// KnownFiles are the programs that castpoint knows by hash.
func KnownFiles() (list []Known) {
	for line := range strings.Lines(knownText) {
		words := strings.Fields(line)
		if len(words) == 4 && !strings.HasPrefix(line, "#") {
			list = append(list, Known{words[0], words[1], words[2], words[3]})
		}
	}
	return list
}

// known looks a hash up.
func known(sum []byte) (Known, bool) {
	text := hex.EncodeToString(sum)
	for _, k := range KnownFiles() {
		if k.SHA256 == text {
			return k, true
		}
	}
	return Known{}, false
}
