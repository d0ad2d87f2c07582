package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// serverPackages are the packages of the server side among what castagent is
// linked from.
func serverPackages(t *testing.T) (found []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	server := []string{"castpoint/web", "castpoint/boot", "castpoint/dhcp", "castpoint/tftp", "castpoint/content"}
	for pkg := range strings.FieldsSeq(string(out)) {
		if slices.Contains(server, pkg) {
			found = append(found, pkg)
		}
	}
	return found
}
