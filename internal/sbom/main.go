// Command sbom writes the software bill of materials of a Go program and of those that
// it carries in it: the modules they were built from, out of what the Go linker noted in
// them, as SPDX 2.3 JSON. The licences come from the table of dependencies, and a
// module that is missing there is an error. It also collects the texts of the licences.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"castpoint/internal/atomicfile"
)

func main() {
	out := flag.String("o", "", "write to `FILE`")
	table := flag.String("licences", "docs/dependencies.md", "`FILE` with the table of dependencies")
	version := flag.String("version", "", "`VERSION` of programs in which Go has noted no commit, as in a worktree of git")
	texts := flag.String("texts", "", "write the texts of the licences to `FILE`")
	flag.Parse()
	if *out == "" && *texts == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: sbom [-o FILE] [-texts FILE] PROGRAM [PROGRAM WITHIN IT...]")
		os.Exit(2)
	}
	if err := write(context.Background(), *out, *texts, *table, *version, flag.Args()...); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// program is a Go program as a file.
type program struct {
	name    string
	version string // if Go has noted none
	digest  string // SHA-256
	info    *debug.BuildInfo
}

func read(file string) (program, error) {
	p := program{name: strings.TrimSuffix(filepath.Base(file), ".exe")}
	var err error
	if p.info, err = buildinfo.ReadFile(file); err != nil {
		return p, err
	}
	f, err := os.Open(file)
	if err != nil {
		return p, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return p, fmt.Errorf("%s: %w", file, err)
	}
	p.digest = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// write describes the first program, which carries the others. A file without a name is
// not written.
func write(ctx context.Context, out, texts, table, version string, files ...string) error {
	f, err := os.Open(table)
	if err != nil {
		return err
	}
	defer f.Close()
	licences, err := readLicences(f)
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	programs := make([]program, len(files))
	for i, file := range files {
		if programs[i], err = read(file); err != nil {
			return err
		}
		programs[i].version = version
	}
	if texts != "" {
		b, err := notices(ctx, programs, licences)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(texts, b); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	programs[0].name = "castpoint"
	doc, err := describe(programs, licences)
	if err != nil {
		return fmt.Errorf("%s: %w", files[0], err)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(out, append(b, '\n'))
}

// row is a line of the table: | `module` | licence | ...
var row = regexp.MustCompile("^\\| *`([^`]+)` *\\| *([^|]+?) *\\|")

// readLicences maps modules to SPDX licence identifiers.
func readLicences(r io.Reader) (map[string]string, error) {
	licences := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if m := row.FindStringSubmatch(lines.Text()); m != nil {
			licences[m[1]] = m[2]
		}
	}
	return licences, lines.Err()
}

// The parts of an SPDX 2.3 document that are used here.
type (
	document struct {
		Version       string         `json:"spdxVersion"`
		Licence       string         `json:"dataLicense"`
		ID            string         `json:"SPDXID"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		Creation      creation       `json:"creationInfo"`
		Packages      []spdxPackage  `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID        string     `json:"SPDXID"`
		Name      string     `json:"name"`
		Version   string     `json:"versionInfo"`
		Download  string     `json:"downloadLocation"`
		Analyzed  bool       `json:"filesAnalyzed"`
		Concluded string     `json:"licenseConcluded"`
		Declared  string     `json:"licenseDeclared"`
		Copyright string     `json:"copyrightText"`
		Checksums []checksum `json:"checksums,omitempty"`
		Refs      []external `json:"externalRefs,omitempty"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	external struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

// none is what SPDX says for something that nobody has claimed.
const none = "NOASSERTION"

// notID is what an SPDX identifier may not hold.
var notID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// describe makes the document of programs, of which the first one carries the others.
// The same programs give the same document: its time is that of the commit.
func describe(programs []program, licences map[string]string) (*document, error) {
	created := time.Unix(0, 0).UTC().Format(time.RFC3339)
	doc := &document{
		Version: "SPDX-2.3", Licence: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "castpoint",
		Namespace: "urn:castpoint:sbom:" + programs[0].digest,
	}
	var missing []string
	for i, one := range programs {
		version := one.info.Main.Version
		if one.version != "" && (version == "" || version == "(devel)") {
			version = one.version
		}
		for _, s := range one.info.Settings {
			switch s.Key {
			case "vcs.revision":
				version = s.Value
			case "vcs.time":
				created = s.Value
			}
		}
		self := "SPDXRef-Package-" + notID.ReplaceAllString(one.name, "-")
		doc.Packages = append(doc.Packages, spdxPackage{
			ID: self, Name: one.name, Version: version, Download: none, Concluded: none, Declared: none, Copyright: none,
			Checksums: []checksum{{"SHA256", one.digest}},
		})
		if i == 0 {
			doc.Relationships = append(doc.Relationships, relationship{"SPDXRef-DOCUMENT", "DESCRIBES", self})
		} else {
			doc.Relationships = append(doc.Relationships, relationship{doc.Packages[0].ID, "CONTAINS", self})
		}
		for _, m := range append([]*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(one.info.GoVersion, "go")}}, one.info.Deps...) {
			if m.Replace != nil {
				m = m.Replace
			}
			p, err := describeModule(m, licences[m.Path])
			if err != nil {
				return nil, err
			}
			if p.Declared == "" {
				missing = append(missing, m.Path)
				continue
			}
			if !slices.ContainsFunc(doc.Packages, func(q spdxPackage) bool { return q.ID == p.ID }) {
				doc.Packages = append(doc.Packages, p)
			}
			doc.Relationships = append(doc.Relationships, relationship{self, "DEPENDS_ON", p.ID})
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("the table of dependencies has no licence for %s", strings.Join(missing, ", "))
	}
	doc.Creation = creation{created, []string{"Tool: castpoint-sbom"}}
	return doc, nil
}

func describeModule(m *debug.Module, licence string) (spdxPackage, error) {
	p := spdxPackage{
		ID: "SPDXRef-Package-" + notID.ReplaceAllString(m.Path, "-"), Name: m.Path, Version: m.Version,
		Download: none, Concluded: licence, Declared: licence, Copyright: none,
		Refs: []external{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + m.Version}},
	}
	// h1: is the SHA-256 over the hashes of the module's files, not of one file;
	// it goes with the module's address.
	if sum, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
		b, err := base64.StdEncoding.DecodeString(sum)
		if err != nil {
			return p, fmt.Errorf("checksum of %s: %w", m.Path, err)
		}
		p.Refs[0].Locator += "?checksum=sha256:" + hex.EncodeToString(b)
	}
	return p, nil
}
