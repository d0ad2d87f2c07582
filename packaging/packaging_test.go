// Package packaging is the Debian and RPM packages and the container; its tests are
// those of the scripts that build them.
package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func run(t *testing.T, dir, stdin, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Who has the public key finds a package that is not the one that was signed, and a list
// that is not.
func TestSignedChecksums(t *testing.T) {
	dir := t.TempDir()
	must := func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	key := filepath.Join(t.TempDir(), "key")
	must(run(t, dir, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key))
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := filepath.Join(t.TempDir(), "signers")
	if err := os.WriteFile(signers, append([]byte("castpoint "), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.deb", "a.rpm", "a.spdx.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Without a key there is no signature, and none is left of another time.
	must(run(t, ".", "", "./checksums", dir, key))
	must(run(t, ".", "", "./checksums", dir))
	if _, err := os.Stat(filepath.Join(dir, "SHA256SUMS.sig")); err == nil {
		t.Error("an old signature is beside new checksums")
	}
	must(run(t, ".", "", "./checksums", dir, key))
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(list string) (string, error) {
		return run(t, dir, list, "ssh-keygen", "-Y", "verify", "-f", signers, "-I", "castpoint", "-n", "castpoint", "-s", "SHA256SUMS.sig")
	}
	must(verify(string(sums)))
	must(run(t, dir, "", "sha256sum", "--strict", "-c", "SHA256SUMS"))
	if out, err := verify(strings.Replace(string(sums), "a.deb", "b.deb", 1)); err == nil {
		t.Errorf("a changed list is verified: %s", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.deb"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, dir, "", "sha256sum", "-c", "SHA256SUMS"); err == nil {
		t.Errorf("a changed package has the right checksum: %s", out)
	}
}

// The bill of materials names what Go itself says is in the program, and what is in the
// program within it.
func TestBillOfMaterials(t *testing.T) {
	dir := t.TempDir()
	programs := []string{filepath.Join(dir, "program"), filepath.Join(dir, "agent.exe")}
	for i, pkg := range []string{"castpoint/internal/sbom", "castpoint/cmd/castagent"} {
		if out, err := run(t, ".", "", "go", "build", "-trimpath", "-o", programs[i], pkg); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	file := filepath.Join(dir, "sbom.json")
	if out, err := run(t, "..", "", "go", append([]string{"run", "./internal/sbom", "-o", file}, programs...)...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Packages []struct {
			ID       string `json:"SPDXID"`
			Name     string
			Version  string `json:"versionInfo"`
			Declared string `json:"licenseDeclared"`
		}
		Relationships []struct {
			From string `json:"spdxElementId"`
			Type string `json:"relationshipType"`
			To   string `json:"relatedSpdxElement"`
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, p := range doc.Packages {
		ids[p.Name+"@"+p.Version] = p.ID
		if p.Declared == "" || p.Declared == "NOASSERTION" && p.Name != "castpoint" && p.Name != "agent" {
			t.Errorf("%s: licence %q", p.Name, p.Declared)
		}
	}
	for i, self := range []string{"SPDXRef-Package-castpoint", "SPDXRef-Package-agent"} {
		out, err := run(t, dir, "", "go", "version", "-m", programs[i])
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		deps := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(out, -1)
		if i == 1 && len(deps) < 10 {
			t.Errorf("only %d modules in the agent: %s", len(deps), out)
		}
		found := 0
		for _, r := range doc.Relationships {
			if r.From == self && r.Type == "DEPENDS_ON" {
				found++
			}
		}
		if found != len(deps)+1 { // and the standard library
			t.Errorf("%s depends on %d packages, and is built of %d modules", self, found, len(deps))
		}
		for _, d := range deps {
			id, ok := ids[d[1]+"@"+d[2]]
			if !ok {
				t.Errorf("%s %s is not in the bill", d[1], d[2])
				continue
			}
			named := false
			for _, r := range doc.Relationships {
				named = named || r.From == self && r.Type == "DEPENDS_ON" && r.To == id
			}
			if !named {
				t.Errorf("%s does not depend on %s", self, id)
			}
		}
	}
}

// Two builds of one commit are the same bytes, wherever and whenever they are made.
func TestReproducible(t *testing.T) {
	if os.Getenv("CASTPOINT_SOAK") == "" {
		t.Skip("it takes minutes: make soak")
	}
	if out, err := run(t, ".", "", "./reproduce"); err != nil {
		t.Errorf("two builds differ, %v:\n%s", err, out)
	}
}
