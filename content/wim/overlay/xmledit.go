package overlay

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"castpoint/content/wim/format"
)

// xmlSpan is the text of one element in the XML data.
type xmlSpan struct{ start, end int }

// xmlSpans finds the text of the elements that an overlay changes: TOTALBYTES
// of the file, and of one image everything by its path below IMAGE. Elements
// that are not there are not in the map; of several the first counts. All else
// in the XML data stays as it is, known or not.
func xmlSpans(text string, index int) (map[string]xmlSpan, error) {
	b := format.NewTokens(text)
	spans := map[string]xmlSpan{}
	var path []string
	var starts []int
	image := false
	for {
		before := b.Offset()
		tok, err := b.Token()
		if errors.Is(err, io.EOF) {
			return spans, nil
		}
		if err != nil {
			return nil, format.Corrupt("%s: %v", format.TableXML, err)
		}
		after := b.Offset()
		switch tok := tok.(type) {
		case xml.StartElement:
			path = append(path, tok.Name.Local)
			starts = append(starts, after)
			if len(path) == 2 {
				image = tok.Name.Local == "IMAGE" && imageIndex(tok) == index
			}
		case xml.EndElement:
			start := starts[len(starts)-1]
			name := strings.Join(path[1:], "/")
			path, starts = path[:len(path)-1], starts[:len(starts)-1]
			if len(path) == 0 || !image && name != "TOTALBYTES" || text[start-2] == '/' {
				continue // <NAME/> has no text to replace
			}
			if _, ok := spans[name]; !ok {
				spans[name] = xmlSpan{start, before}
			}
		}
	}
}

func imageIndex(e xml.StartElement) int {
	for _, a := range e.Attr {
		if a.Name.Local == "INDEX" {
			return int(format.Number(a.Value))
		}
	}
	return 0
}

// xmlNumber reads the number in a span.
func xmlNumber(text string, spans map[string]xmlSpan, name string) (int64, bool) {
	s, ok := spans[name]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text[s.start:s.end]), 10, 64)
	return n, err == nil && n >= 0
}

// encodeXML makes UTF-16LE with byte order mark.
func encodeXML(text string) []byte {
	b := make([]byte, 0, 2*len(text)+2)
	b = binary.LittleEndian.AppendUint16(b, 0xfeff)
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// replaceSpans puts new texts in place of the named spans that exist. The texts
// must not need escaping.
func replaceSpans(text string, spans map[string]xmlSpan, values map[string]string) string {
	type change struct {
		xmlSpan
		value string
	}
	changes := make([]change, 0, len(values))
	for name, v := range values {
		if s, ok := spans[name]; ok {
			changes = append(changes, change{s, v})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.start - b.start })
	var out strings.Builder
	at := 0
	for _, c := range changes {
		out.WriteString(text[at:c.start])
		out.WriteString(c.value)
		at = c.end
	}
	out.WriteString(text[at:])
	return out.String()
}
