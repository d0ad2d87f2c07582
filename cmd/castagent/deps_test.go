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
	// What the agent is made of, and rooms of these; everything else of castpoint is the server's.
	own := []string{"castpoint/cmd/castagent", "castpoint/agent", "castpoint/multicast", "castpoint/boot/bcd", "castpoint/content/wim", "castpoint/deploy/sequence",
		"castpoint/internal/atomicfile", "castpoint/internal/netio", "castpoint/internal/yamltext"}
	for pkg := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(pkg, "castpoint/") && !slices.ContainsFunc(own, func(p string) bool { return pkg == p || strings.HasPrefix(pkg, p+"/") }) {
			found = append(found, pkg)
		}
	}
	return found
}
