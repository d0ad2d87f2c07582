package format

import (
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Limits of the XML data. Windows media have some 40 KB with depth 6.
const (
	// maxXMLSize bounds memory: the text is held as UTF-16 and as UTF-8.
	maxXMLSize = 16 << 20
	// maxXMLDepth bounds the decoder's stack, which grows with nesting.
	maxXMLDepth = 32
	// maxXMLElements bounds time and the lists that elements end up in.
	maxXMLElements = 1 << 20
)

// ReadXML reads the XML data as UTF-8.
func ReadXML(r io.ReaderAt, h *Header) (string, error) {
	if h.XML.Compressed() {
		return "", Corrupt("%s is marked as compressed, which the format forbids", TableXML)
	}
	if h.XML.Size > maxXMLSize {
		return "", Corrupt("%s: %d bytes, at most %d are sensible", TableXML, h.XML.Size, maxXMLSize)
	}
	b := make([]byte, h.XML.Size)
	if err := ReadFull(r, b, h.XML.Offset, TableXML); err != nil {
		return "", err
	}
	return DecodeUTF16(b)
}

// DecodeUTF16 makes UTF-8 of UTF-16LE with or without byte order mark. Single
// surrogates become U+FFFD.
func DecodeUTF16(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", Corrupt("%s: %d bytes are not UTF-16", TableXML, len(b))
	}
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		u = append(u, binary.LittleEndian.Uint16(b[i:]))
	}
	if len(u) > 0 && u[0] == 0xfeff {
		u = u[1:]
	}
	for len(u) > 0 && u[len(u)-1] == 0 {
		u = u[:len(u)-1] // some writers count a terminating zero
	}
	if len(u) == 0 || (u[0] != '<' && u[0] > ' ') {
		return "", Corrupt("%s does not begin with a UTF-16 \"<\": it is overwritten or not where the header says", TableXML)
	}
	return string(utf16.Decode(u)), nil
}

// Number reads a decimal number that is not negative; anything else is 0.
func Number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Tokens hands on the tokens of a decoder until a limit is passed.
// encoding/xml expands no entities beyond the five of XML, so nesting and
// number are all that has to be bounded.
type Tokens struct {
	d        *xml.Decoder
	depth    int
	elements int
}

// NewTokens begins to decode a text.
func NewTokens(text string) *Tokens {
	d := xml.NewDecoder(strings.NewReader(text))
	// A declaration may still say "utf-16"; the text is UTF-8 by now.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return &Tokens{d: d}
}

// Token implements xml.TokenReader.
func (b *Tokens) Token() (xml.Token, error) {
	tok, err := b.d.Token()
	switch tok.(type) {
	case xml.StartElement:
		b.depth++
		b.elements++
		if b.depth > maxXMLDepth {
			return nil, fmt.Errorf("elements are nested deeper than %d", maxXMLDepth)
		}
		if b.elements > maxXMLElements {
			return nil, fmt.Errorf("more than %d elements", maxXMLElements)
		}
	case xml.EndElement:
		b.depth--
	}
	return tok, err
}

// Offset is where in the text the decoder is, bytes.
func (b *Tokens) Offset() int { return int(b.d.InputOffset()) }
