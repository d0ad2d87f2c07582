package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// notice are the names of files that a licence wants to go with the program.
var notice = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright|notice|patents)([-._].*)?$`)

// notices are the texts of the licences of everything that is in some programs: most
// licences demand that whoever hands on the program hands on their text. The texts are
// those of the modules as they were downloaded.
func notices(ctx context.Context, programs []program, licences map[string]string) ([]byte, error) {
	folders, err := moduleFolders(ctx)
	if err != nil {
		return nil, err
	}
	needed := map[string]string{"stdlib": programs[0].info.GoVersion}
	for _, p := range programs {
		for _, m := range p.info.Deps {
			needed[m.Path] = m.Version
		}
	}
	var b bytes.Buffer
	b.WriteString("castpoint has the following modules in it. Each is under its own licence, whose text follows.\n")
	for _, path := range slices.Sorted(func(yield func(string) bool) {
		for path := range needed {
			if !yield(path) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "\n%s\n%s %s: %s\n%[1]s\n", strings.Repeat("=", 80), path, needed[path], licences[path])
		files, err := noticeFiles(folders[path])
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", path, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("licence of %s: %w", path, err)
			}
			fmt.Fprintf(&b, "\n--- %s\n\n%s\n", filepath.Base(file), bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r"), nil)))
		}
	}
	return b.Bytes(), nil
}

// noticeFiles are the files of a module that go with what is made of it.
func noticeFiles(folder string) (files []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && notice.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is none in %s", folder)
	}
	return files, nil
}

// moduleFolders says where the source of each module of the build is, and of Go itself.
func moduleFolders(ctx context.Context) (map[string]string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-json", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	folders := map[string]string{"stdlib": strings.TrimSpace(string(root))}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return folders, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		folders[m.Path] = m.Dir
	}
}
