package main

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"castpoint/docs"
)

// commandsOf are the castpoint commands in a page's code blocks and in its text,
// with what comes before castpoint and behind a pipe taken away.
func commandsOf(page string) (lines []string) {
	command := regexp.MustCompile(`(?:^|\s)(?:bin/)?castpoint( .*)$`)
	inBlock := false
	joined := strings.ReplaceAll(page, "\\\n", " ")
	for line := range strings.SplitSeq(joined, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inBlock = !inBlock
			continue
		}
		line = strings.TrimPrefix(strings.TrimSpace(line), "# ")
		if m := command.FindStringSubmatch(line); inBlock && m != nil && regexp.MustCompile(`^(sudo |bin/|castpoint )`).MatchString(line) {
			lines = append(lines, m[1])
		}
	}
	for _, m := range regexp.MustCompile("`castpoint( [^`]*)`").FindAllStringSubmatch(page, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// words splits a command line as a shell would, as far as the pages need it, and
// ends where a comment, a pipe or a redirection begins.
func words(line string) (list []string) {
	for _, m := range regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`).FindAllString(line, -1) {
		if m == "|" || m == "&&" || m == ";" || strings.HasPrefix(m, "#") || strings.HasPrefix(m, ">") {
			break
		}
		list = append(list, strings.Trim(m, `'",`))
	}
	return list
}

// Commands in the documentation exist, and so do their flags.
func TestDocumentedCommandsExist(t *testing.T) {
	pages := map[string]string{}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages["README.md"] = string(readme)
	list, err := fs.Glob(docs.Pages, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		b, err := docs.Pages.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(b)
	}
	flag := regexp.MustCompile(`^--?([a-z][a-z0-9-]*)`)
	seen := 0
	for name, page := range pages {
		for _, line := range commandsOf(page) {
			args := words(line)
			if len(args) == 0 || args[0][0] >= '0' && args[0][0] <= '9' {
				continue // "castpoint 1" is a label of the protocol
			}
			seen++
			c, rest, err := newRoot().Find(args)
			if err != nil || c.Name() == "castpoint" && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				t.Errorf("%s: castpoint%s: there is no such command", name, line)
				continue
			}
			if c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !strings.Contains(rest[0], "|") && c.Name() != "device" {
				t.Errorf("%s: castpoint%s: %s has no command %s", name, line, c.Name(), rest[0])
			}
			for _, word := range rest {
				if word == "--" {
					break // what follows is another program's
				}
				m := flag.FindStringSubmatch(strings.TrimLeft(word, "["))
				if m == nil {
					continue
				}
				if len(m[1]) == 1 && c.Flags().ShorthandLookup(m[1]) != nil || c.Flags().Lookup(m[1]) != nil || c.InheritedFlags().Lookup(m[1]) != nil || m[1] == "help" {
					continue
				}
				t.Errorf("%s: castpoint%s: %s has no flag %s", name, line, c.CommandPath(), word)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d commands were found in the pages", seen)
	}
}
