package main

import (
	"embed"
	"io/fs"

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
