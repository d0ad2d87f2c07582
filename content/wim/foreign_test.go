package wim

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wimlib runs wimlib-imagex and returns what it printed.
func wimlib(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("wimlib-imagex is missing: install wimtools")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("wimlib-imagex %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// sourceTree makes a folder with files that compress well and badly, a hard
// link and an empty file.
func sourceTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "Windows", "System32"), 0o755); err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(random)
	for name, data := range map[string][]byte{
		"random.bin":                      random,
		"Windows/System32/text.txt":       bytes.Repeat([]byte("all work and no play\r\n"), 20_000),
		"Windows/System32/winload.exe":    []byte("MZ"),
		"Windows/empty":                   nil,
		"Windows/Übergrößenträger — 図.md": []byte("name beyond ASCII"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "random.bin"), filepath.Join(dir, "hardlink.bin")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// variants are the kinds of WIM that exist, with the options that make them.
var variants = []struct {
	name        string
	args        []string
	compression Compression
	solid       bool
	pipable     bool
}{
	{"none", []string{"--compress=none"}, CompressionNone, false, false},
	{"xpress", []string{"--compress=xpress"}, CompressionXPRESS, false, false},
	{"xpress-4k", []string{"--compress=xpress", "--chunk-size=4096"}, CompressionXPRESS, false, false},
	{"lzx", []string{"--compress=lzx"}, CompressionLZX, false, false},
	{"lzx-2m", []string{"--compress=lzx", "--chunk-size=2097152"}, CompressionLZX, false, false},
	{"lzms", []string{"--compress=lzms"}, CompressionLZMS, false, false},
	{"solid", []string{"--solid"}, CompressionLZMS, true, false},
	{"solid-lzx", []string{"--solid", "--solid-compress=lzx", "--compress=lzx"}, CompressionLZX, true, false},
	{"pipable", []string{"--pipable"}, CompressionLZX, false, true},
	{"pipable-none", []string{"--pipable", "--compress=none"}, CompressionNone, false, true},
}

// capture makes a WIM of the tree with one image and Windows properties.
func capture(t testing.TB, tree, file string, args ...string) {
	t.Helper()
	wimlib(t, append([]string{"capture", tree, file, "Windows 11 Pro", "a <test> & more", "--boot",
		"--flags=Professional",
		"--image-property=WINDOWS/ARCH=9",
		"--image-property=WINDOWS/EDITIONID=Professional",
		"--image-property=WINDOWS/INSTALLATIONTYPE=Client",
		"--image-property=WINDOWS/PRODUCTNAME=Microsoft® Windows® Operating System",
		"--image-property=WINDOWS/SYSTEMROOT=WINDOWS",
		"--image-property=WINDOWS/LANGUAGES/LANGUAGE[1]=de-DE",
		"--image-property=WINDOWS/LANGUAGES/LANGUAGE[2]=en-US",
		"--image-property=WINDOWS/LANGUAGES/DEFAULT=de-DE",
		"--image-property=WINDOWS/VERSION/MAJOR=10",
		"--image-property=WINDOWS/VERSION/MINOR=0",
		"--image-property=WINDOWS/VERSION/BUILD=26100",
		"--image-property=WINDOWS/VERSION/SPBUILD=1742",
		"--image-property=DISPLAYNAME=Windows 11 Pro 🖥"}, args...)...)
}

func describeFile(t testing.TB, path string) (*Info, error) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Describe(bytes.NewReader(b), int64(len(b)))
}

// TestDescribeAgainstWimlib compares every variant with what wimlib says of it.
func TestDescribeAgainstWimlib(t *testing.T) {
	tree := sourceTree(t)
	for _, v := range variants {
		for _, check := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/check=%v", v.name, check), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "image.wim")
				args := v.args
				if check {
					args = append([]string{"--check"}, args...)
				}
				capture(t, tree, file, args...)
				info, err := describeFile(t, file)
				if err != nil {
					t.Fatal(err)
				}
				if info.Compression != v.compression || info.Solid != v.solid || info.Pipable != v.pipable || info.Integrity != check {
					t.Errorf("compression %s solid %v pipable %v integrity %v", info.Compression, info.Solid, info.Pipable, info.Integrity)
				}
				compareWithWimlib(t, file, info)
				img, ok := info.Image(1)
				if !ok || img.Name != "Windows 11 Pro" || img.Description != "a <test> & more" || img.Arch != "amd64" ||
					img.Edition != "Professional" || img.Flags != "Professional" || img.Version != "10.0.26100.1742" ||
					strings.Join(img.Languages, " ") != "de-DE en-US" || img.DefaultLanguage != "de-DE" ||
					img.InstallationType != "Client" || img.SystemRoot != "WINDOWS" || img.DisplayName != "Windows 11 Pro 🖥" ||
					img.ProductName != "Microsoft® Windows® Operating System" {
					t.Errorf("image: %+v", img)
				}
				if age := time.Since(img.Created); age < 0 || age > time.Hour {
					t.Errorf("created %v", img.Created)
				}
				verifyFile(t, file, check)
			})
		}
	}
}

// compareWithWimlib compares info with the header and XML that wimlib prints.
func compareWithWimlib(t *testing.T, file string, info *Info) {
	t.Helper()
	header := map[string]string{}
	for line := range strings.Lines(string(wimlib(t, "info", "--header", file))) {
		if k, v, ok := strings.Cut(line, "="); ok {
			header[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	blobBytes, err := strconv.ParseInt(header["Blob Table Size"], 10, 64)
	if err != nil {
		t.Fatalf("wimlib-imagex info --header: %v in %q", err, header)
	}
	for _, c := range []struct{ field, have, want string }{
		{"GUID", info.GUID, header["GUID"]},
		{"chunk size", strconv.Itoa(info.ChunkSize), header["Chunk Size"]},
		{"part", strconv.Itoa(info.Part), header["Part Number"]},
		{"parts", strconv.Itoa(info.Parts), header["Total Parts"]},
		{"images", strconv.Itoa(len(info.Images)), header["Image Count"]},
		{"boot index", strconv.Itoa(info.BootIndex), header["Boot Index"]},
		{"blobs", strconv.FormatInt(info.Blobs*blobEntrySize, 10), strconv.FormatInt(blobBytes, 10)},
		{"integrity", strconv.FormatBool(info.Integrity), strconv.FormatBool(header["Integrity Size"] != "0")},
	} {
		if c.have != c.want {
			t.Errorf("%s: %s, wimlib says %s", c.field, c.have, c.want)
		}
	}

	// The XML once more, by another reading of it: all elements by path.
	text, err := decodeUTF16(wimlib(t, "info", "--xml", file))
	if err != nil {
		t.Fatal(err)
	}
	values := xmlPaths(t, text)
	for i, img := range info.Images {
		at := func(path string) string { return values[fmt.Sprintf("%d/%s", i+1, path)] }
		for _, c := range []struct{ field, have, want string }{
			{"name", img.Name, at("NAME")},
			{"description", img.Description, at("DESCRIPTION")},
			{"dirs", strconv.FormatInt(img.Dirs, 10), at("DIRCOUNT")},
			{"files", strconv.FormatInt(img.Files, 10), at("FILECOUNT")},
			{"total bytes", strconv.FormatInt(img.TotalBytes, 10), at("TOTALBYTES")},
			{"hard link bytes", strconv.FormatInt(img.HardLinkBytes, 10), at("HARDLINKBYTES")},
		} {
			if c.have != c.want {
				t.Errorf("image %d: %s %q, the XML has %q", i+1, c.field, c.have, c.want)
			}
		}
	}

	// Times as wimlib prints them.
	stamps := regexp.MustCompile(`(?m)^(Creation|Last Modification) Time:\s+(.*)$`).
		FindAllSubmatch(wimlib(t, "info", file), -1)
	if len(stamps) != 2*len(info.Images) {
		t.Fatalf("wimlib-imagex info printed %d times for %d images", len(stamps), len(info.Images))
	}
	for i, img := range info.Images {
		for j, have := range []time.Time{img.Created, img.Modified} {
			want, err := time.Parse("Mon Jan 2 15:04:05 2006 MST", string(stamps[2*i+j][2]))
			if err != nil {
				t.Fatal(err)
			}
			if !have.Truncate(time.Second).Equal(want) {
				t.Errorf("image %d: %s time %v, wimlib says %v", i+1, stamps[2*i+j][1], have, want)
			}
		}
	}
}

// xmlPaths maps "image/ELEMENT/ELEMENT" to text.
func xmlPaths(t *testing.T, text string) map[string]string {
	t.Helper()
	values := map[string]string{}
	var path []string
	image := ""
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if err != nil {
			return values
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name.Local == "IMAGE" {
				image, path = tok.Attr[0].Value, nil
				continue
			}
			path = append(path, tok.Name.Local)
		case xml.EndElement:
			if tok.Name.Local == "IMAGE" {
				image = ""
			}
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		case xml.CharData:
			values[image+"/"+strings.Join(path, "/")] = string(tok)
		}
	}
}

// verifyFile demands that Verify accepts the file, and that it finds every
// single-byte change that the integrity table covers.
func verifyFile(t *testing.T, path string, check bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(b))
	var last, total int64
	err = Verify(context.Background(), bytes.NewReader(b), size, func(done, all int64) {
		if done < last || done > all {
			t.Errorf("progress went from %d to %d of %d", last, done, all)
		}
		last, total = done, all
	})
	if !check {
		if !errors.Is(err, ErrNoIntegrity) {
			t.Errorf("without integrity table: %v", err)
		}
		return
	}
	if err != nil || last != total || total <= 0 {
		t.Errorf("verify: %v, progress %d of %d", err, last, total)
	}
	for _, off := range []int64{headerSize, 5000, size / 2} {
		damaged := bytes.Clone(b)
		damaged[off] ^= 0x10
		err := Verify(context.Background(), bytes.NewReader(damaged), size, nil)
		var damage *DamageError
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &damage) || damage.Damaged != 1 || damage.Ranges[0].Start > off || damage.Ranges[0].End <= off {
			t.Errorf("byte %d changed: %v", off, err)
		}
	}
}

// TestSplit describes and verifies each part of a split WIM.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.wim")
	capture(t, sourceTree(t), whole, "--compress=none", "--check")
	wimlib(t, "split", whole, filepath.Join(dir, "part.swm"), "0.3")
	parts, err := filepath.Glob(filepath.Join(dir, "part*.swm"))
	if err != nil || len(parts) < 2 {
		t.Fatalf("split made %v, %v", parts, err)
	}
	for _, p := range parts {
		info, err := describeFile(t, p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if !info.Split() || info.Parts != len(parts) {
			t.Errorf("%s: part %d of %d", p, info.Part, info.Parts)
		}
		compareWithWimlib(t, p, info)
	}
}

// TestManyImages describes a WIM with several images of which the second is
// bootable.
func TestManyImages(t *testing.T) {
	tree := sourceTree(t)
	file := filepath.Join(t.TempDir(), "many.wim")
	capture(t, tree, file)
	for i := 2; i <= 12; i++ {
		wimlib(t, "append", tree, file, fmt.Sprintf("Edition %d", i), "--image-property=WINDOWS/ARCH=12")
	}
	wimlib(t, "info", file, "2", "--boot")
	info, err := describeFile(t, file)
	if err != nil {
		t.Fatal(err)
	}
	compareWithWimlib(t, file, info)
	if len(info.Images) != 12 || info.BootIndex != 2 || info.Images[11].Arch != "arm64" || info.Images[9].Name != "Edition 10" {
		t.Errorf("%+v", info)
	}
	if _, ok := info.Image(13); ok {
		t.Error("image 13 of 12 exists")
	}
}

// TestTruncatedReal cuts a real file of every variant at many places: each must
// be called incomplete, never damaged or whole.
func TestTruncatedReal(t *testing.T) {
	tree := sourceTree(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.wim")
			capture(t, tree, file, append([]string{"--check"}, v.args...)...)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for cut := int64(8); cut < int64(len(b)); cut += 1 + int64(len(b))/97 {
				_, err := Describe(bytes.NewReader(b[:cut]), cut)
				if !errors.Is(err, ErrTruncated) {
					t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
				}
				var short *TruncatedError
				if errors.As(err, &short) && cut >= headerSize && short.Missing() != int64(len(b))-cut {
					t.Errorf("cut at %d of %d: says %d missing", cut, len(b), short.Missing())
				}
			}
		})
	}
}
