package manual

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	table "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// Bounds of what a search shows: sections, and passages of each.
const (
	shownHits     = 40
	shownPassages = 3
)

// section is what stands below a heading, down to the next one.
type section struct {
	title, id string // of the heading
	passages  []string
	lower     []string // the same without capitals, the title first
}

// hit is a section that has what was searched for.
type hit struct {
	Page, Title string
	Path        string // with the section
	Passages    []string
}

// search finds the sections that have all words of a text, whatever their letter case;
// those with a word in the heading come first. For a message of the program, names and
// numbers and all, it finds the rows that explain it: those whose words in quotes are a
// part of it.
func (p *Manual) search(chapters []chapter, searched string) (found []hit, more int, err error) {
	searched = strings.ToLower(searched)
	words := strings.Fields(searched)
	var inTitle, inText, explained []hit
	for _, c := range chapters {
		for _, d := range c.Docs {
			body, err := fs.ReadFile(p.pages, d.Name+".md")
			if err != nil {
				return nil, 0, err
			}
			for _, s := range sections(d.Name, body) {
				h := hit{Page: d.Title, Title: s.title, Path: "/docs/" + d.Name + "#" + s.id}
				if h.Passages = s.explains(searched); len(h.Passages) > 0 {
					explained = append(explained, h)
					continue
				}
				if !slices.ContainsFunc(words, func(w string) bool { return !s.has(w) }) {
					h.Passages = s.best(searched, words)
					if strings.Contains(s.lower[0], words[0]) {
						inTitle = append(inTitle, h)
					} else {
						inText = append(inText, h)
					}
				}
			}
		}
	}
	found = slices.Concat(explained, inTitle, inText)
	more = max(0, len(found)-shownHits)
	return found[:len(found)-more], more, nil
}

// sections takes a page apart. What stands above the first heading is nowhere.
func sections(name string, source []byte) (all []*section) {
	var now *section
	_ = ast.Walk(language(name).Parser().Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		if !entering {
			return ast.WalkContinue, nil
		}
		if h, ok := n.(*ast.Heading); ok {
			id, _ := h.AttributeString("id")
			b, _ := id.([]byte)
			now = &section{title: plain(n, source), id: string(b)}
			now.lower = []string{strings.ToLower(now.title)}
			all = append(all, now)
			return ast.WalkSkipChildren, nil
		}
		var passages []string
		switch n := n.(type) {
		case *ast.Paragraph, *ast.TextBlock:
			passages = []string{plain(n, source)}
		case *table.TableHeader, *table.TableRow:
			var cells []string
			for cell := n.FirstChild(); cell != nil; cell = cell.NextSibling() {
				cells = append(cells, plain(cell, source))
			}
			passages = []string{strings.Join(cells, " – ")}
		case *ast.FencedCodeBlock:
			passages = strings.Split(strings.TrimSpace(string(n.Lines().Value(source))), "\n")
		default:
			return ast.WalkContinue, nil
		}
		if now != nil {
			for _, one := range passages {
				now.passages = append(now.passages, one)
				now.lower = append(now.lower, strings.ToLower(one))
			}
		}
		return ast.WalkSkipChildren, nil
	})
	return all
}

// plain is the text of a node without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() || t.HardLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// has says whether a word is in the section.
func (s *section) has(word string) bool {
	return slices.ContainsFunc(s.lower, func(l string) bool { return strings.Contains(l, word) })
}

// best are the passages that show a hit: those with the text as it is, else those with
// the most words of it, in the order of the page.
func (s *section) best(searched string, words []string) (passages []string) {
	score := func(lower string) (n int) {
		if strings.Contains(lower, searched) {
			n = len(words)
		}
		for _, w := range words {
			if strings.Contains(lower, w) {
				n++
			}
		}
		return n
	}
	most := 0
	for _, l := range s.lower[1:] {
		most = max(most, score(l))
	}
	for i, l := range s.lower[1:] {
		if most > 0 && score(l) == most && len(passages) < shownPassages {
			passages = append(passages, s.passages[i])
		}
	}
	return passages
}

// quoted are messages of the program in a passage.
var quoted = regexp.MustCompile(`"([^"]{8,})"`)

// explains are the passages with a message that is part of the text.
func (s *section) explains(searched string) (passages []string) {
	for i, l := range s.lower[1:] {
		for _, m := range quoted.FindAllStringSubmatch(l, -1) {
			if strings.Contains(searched, m[1]) {
				passages = append(passages, s.passages[i])
				break
			}
		}
	}
	return passages
}
