package wim_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/test/wimfile"
)

// TestDescribeAgainstWimlib compares every variant with what wimlib says of it.
func TestDescribeAgainstWimlib(t *testing.T) {
	tree := wimfile.SourceTree(t)
	for _, v := range wimfile.Variants {
		for _, check := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/check=%v", v.Name, check), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "image.wim")
				args := v.Args
				if check {
					args = append([]string{"--check"}, args...)
				}
				wimfile.Capture(t, tree, file, args...)
				info, err := wimfile.DescribeFile(t, file)
				if err != nil {
					t.Fatal(err)
				}
				if info.Compression != v.Compression || info.Solid != v.Solid || info.Pipable != v.Pipable || info.Integrity != check {
					t.Errorf("compression %s solid %v pipable %v integrity %v", info.Compression, info.Solid, info.Pipable, info.Integrity)
				}
				wimfile.CompareWithWimlib(t, file, info)
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
			})
		}
	}
}

// TestSplit describes and verifies each part of a split WIM.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.wim")
	wimfile.Capture(t, wimfile.SourceTree(t), whole, "--compress=none", "--check")
	wimfile.Wimlib(t, "split", whole, filepath.Join(dir, "part.swm"), "0.3")
	parts, err := filepath.Glob(filepath.Join(dir, "part*.swm"))
	if err != nil || len(parts) < 2 {
		t.Fatalf("split made %v, %v", parts, err)
	}
	for _, p := range parts {
		info, err := wimfile.DescribeFile(t, p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if !info.Split() || info.Parts != len(parts) {
			t.Errorf("%s: part %d of %d", p, info.Part, info.Parts)
		}
		wimfile.CompareWithWimlib(t, p, info)
	}
}

// TestManyImages describes a WIM with several images of which the second is
// bootable.
func TestManyImages(t *testing.T) {
	tree := wimfile.SourceTree(t)
	file := filepath.Join(t.TempDir(), "many.wim")
	wimfile.Capture(t, tree, file)
	for i := 2; i <= 12; i++ {
		wimfile.Wimlib(t, "append", tree, file, fmt.Sprintf("Edition %d", i), "--image-property=WINDOWS/ARCH=12")
	}
	wimfile.Wimlib(t, "info", file, "2", "--boot")
	info, err := wimfile.DescribeFile(t, file)
	if err != nil {
		t.Fatal(err)
	}
	wimfile.CompareWithWimlib(t, file, info)
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
	tree := wimfile.SourceTree(t)
	for _, v := range wimfile.Variants {
		t.Run(v.Name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.wim")
			wimfile.Capture(t, tree, file, append([]string{"--check"}, v.Args...)...)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for cut := int64(8); cut < int64(len(b)); cut += 1 + int64(len(b))/97 {
				_, err := wim.Describe(bytes.NewReader(b[:cut]), cut)
				if !errors.Is(err, wim.ErrTruncated) {
					t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
				}
				var short *format.TruncatedError
				if errors.As(err, &short) && cut >= format.HeaderSize && short.Missing() != int64(len(b))-cut {
					t.Errorf("cut at %d of %d: says %d missing", cut, len(b), short.Missing())
				}
			}
		})
	}
}
