package integrity

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/content/wim/format"
	"castpoint/test/wimfile"
)

// TestIntegrityAttacks replaces the integrity table.
func TestIntegrityAttacks(t *testing.T) {
	table := func(size, chunks, chunk uint32, n int) []byte {
		b := binary.LittleEndian.AppendUint32(nil, size)
		b = binary.LittleEndian.AppendUint32(b, chunks)
		b = binary.LittleEndian.AppendUint32(b, chunk)
		return append(b, make([]byte, n)...)
	}
	for name, c := range map[string]struct {
		table []byte
		text  string
	}{
		"too short":             {[]byte{1, 2, 3}, "too short"},
		"size lies":             {table(999, 1, 4096, 20), "header"},
		"four billion chunks":   {table(12, math.MaxUint32, 4096, 0), "chunks need"},
		"chunk size 0":          {table(32, 1, 0, 20), "chunk size 0"},
		"chunk size 1":          {table(32, 1, 1, 20), "chunk size 1"},
		"chunk size huge":       {table(32, 1, math.MaxUint32, 20), "chunk size"},
		"too few chunks":        {table(32, 1, 4096, 20), "the file has 5"},
		"hashes of other bytes": {table(12+5*20, 5, 4096, 5*20), "5 of 5 chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			f := wimfile.New(wimfile.GoodXML, 1)
			f.Table = c.table
			b := f.Bytes(nil)
			err := Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
			if !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %q", err, c.text)
			}
		})
	}
}

func TestVerifyStopsWithContext(t *testing.T) {
	b := wimfile.New(wimfile.GoodXML, 1).Bytes(nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Verify(ctx, bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCheckerPieces writes a file in pieces of many sizes.
func TestCheckerPieces(t *testing.T) {
	good := wimfile.New(wimfile.GoodXML, 1).Bytes(nil)
	bad := bytes.Clone(good)
	bad[9000] ^= 1
	for _, piece := range []int{1, 7, 207, 208, 209, 4096, 5000, len(good)} {
		for _, b := range [][]byte{good, bad} {
			c, err := NewChecker(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(b); i += piece {
				if _, err := c.Write(b[i:min(i+piece, len(b))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Close(); errors.Is(err, format.ErrCorrupt) != (&b[0] == &bad[0]) {
				t.Errorf("pieces of %d: %v", piece, err)
			}
		}
	}
	c, err := NewChecker(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(good[:5000]); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); !errors.Is(err, format.ErrTruncated) {
		t.Errorf("closed early: %v", err)
	}
}

// TestVerifyAgainstWimlib verifies every variant.
func TestVerifyAgainstWimlib(t *testing.T) {
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
				verifyFile(t, file, check)
			})
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
	for _, off := range []int64{format.HeaderSize, 5000, size / 2} {
		damaged := bytes.Clone(b)
		damaged[off] ^= 0x10
		err := Verify(context.Background(), bytes.NewReader(damaged), size, nil)
		var damage *DamageError
		if !errors.Is(err, format.ErrCorrupt) || !errors.As(err, &damage) || damage.Damaged != 1 || damage.Ranges[0].Start > off || damage.Ranges[0].End <= off {
			t.Errorf("byte %d changed: %v", off, err)
		}
	}
}

// TestVerifySet verifies split WIMs with and without integrity tables, and one
// with a damaged part.
func TestVerifySet(t *testing.T) {
	tree := wimfile.RichTree(t)
	parts := wimfile.OpenParts(t, wimfile.SplitFile(t, tree, "0.5", "--compress=none"))
	if err := VerifySet(context.Background(), parts, 2, nil); !errors.Is(err, ErrNoIntegrity) {
		t.Error(err)
	}
	names := wimfile.SplitFile(t, tree, "0.5", "--check")
	if err := VerifySet(context.Background(), wimfile.OpenParts(t, names), 2, nil); err != nil {
		t.Error(err)
	}
	b := wimfile.ReadFile(t, names[1])
	b[5000] ^= 1
	if err := os.WriteFile(names[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	err := VerifySet(context.Background(), wimfile.OpenParts(t, names), 2, nil)
	if !errors.As(err, &damage) || damage.Damaged != 1 || !strings.Contains(err.Error(), filepath.Base(names[1])) {
		t.Errorf("a damaged part: %v", err)
	}
}
