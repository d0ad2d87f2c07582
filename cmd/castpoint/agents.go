package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/point"
)

// agents are the castagent programs that make build puts beside this file.
//
//go:embed agents
var agents embed.FS

// build is what this program brings along.
func build() point.Build {
	files, err := fs.Sub(agents, "agents")
	if err != nil {
		panic(err) // the name is valid
	}
	return point.Build{Version: version, Agents: files}
}

// writeAgent puts the embedded agent for Linux machines of arch into dir.
func writeAgent(dir, arch string) (string, error) {
	name := "castagent-linux-" + arch
	b, err := agents.ReadFile("agents/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("this castpoint was built without %s: build it with make build, or say --agent FILE", name)
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o755); err != nil {
		return "", fmt.Errorf("unpack agent: %w", err)
	}
	return path, nil
}
