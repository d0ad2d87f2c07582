// Package docs holds the documentation, so that the program can show it.
package docs

import "embed"

// Pages are the pages of this folder, as they are written, and the decisions in adr.
//
//go:embed *.md adr/*.md
var Pages embed.FS
