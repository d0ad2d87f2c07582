package wim

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
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

// imageXML is one IMAGE element. Numbers are kept as text: they are for people,
// and a bad one must not make the image unusable.
type imageXML struct {
	Index              string  `xml:"INDEX,attr"`
	Name               string  `xml:"NAME"`
	Description        string  `xml:"DESCRIPTION"`
	DisplayName        string  `xml:"DISPLAYNAME"`
	DisplayDescription string  `xml:"DISPLAYDESCRIPTION"`
	Flags              string  `xml:"FLAGS"`
	DirCount           string  `xml:"DIRCOUNT"`
	FileCount          string  `xml:"FILECOUNT"`
	TotalBytes         string  `xml:"TOTALBYTES"`
	HardLinkBytes      string  `xml:"HARDLINKBYTES"`
	Created            timeXML `xml:"CREATIONTIME"`
	Modified           timeXML `xml:"LASTMODIFICATIONTIME"`
	Windows            *struct {
		Arch             string   `xml:"ARCH"`
		ProductName      string   `xml:"PRODUCTNAME"`
		Edition          string   `xml:"EDITIONID"`
		InstallationType string   `xml:"INSTALLATIONTYPE"`
		SystemRoot       string   `xml:"SYSTEMROOT"`
		Languages        []string `xml:"LANGUAGES>LANGUAGE"`
		DefaultLanguage  string   `xml:"LANGUAGES>DEFAULT"`
		Version          *struct {
			Major   string `xml:"MAJOR"`
			Minor   string `xml:"MINOR"`
			Build   string `xml:"BUILD"`
			SPBuild string `xml:"SPBUILD"`
		} `xml:"VERSION"`
	} `xml:"WINDOWS"`
}

// timeXML is a Windows file time in two hexadecimal halves.
type timeXML struct {
	High string `xml:"HIGHPART"`
	Low  string `xml:"LOWPART"`
}

// readXML reads the XML data and returns the images in order of index.
func readXML(r io.ReaderAt, h *header) ([]Image, error) {
	text, err := readXMLText(r, h)
	if err != nil {
		return nil, err
	}
	return parseXML(text, int(h.images))
}

// readXMLText reads the XML data as UTF-8.
func readXMLText(r io.ReaderAt, h *header) (string, error) {
	if h.xml.compressed() {
		return "", corrupt("%s is marked as compressed, which the format forbids", tableXML)
	}
	if h.xml.size > maxXMLSize {
		return "", corrupt("%s: %d bytes, at most %d are sensible", tableXML, h.xml.size, maxXMLSize)
	}
	b := make([]byte, h.xml.size)
	if err := readFull(r, b, h.xml.offset, tableXML); err != nil {
		return "", err
	}
	return decodeUTF16(b)
}

// decodeUTF16 makes UTF-8 of UTF-16LE with or without byte order mark. Single
// surrogates become U+FFFD.
func decodeUTF16(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", corrupt("%s: %d bytes are not UTF-16", tableXML, len(b))
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
		return "", corrupt("%s does not begin with a UTF-16 \"<\": it is overwritten or not where the header says", tableXML)
	}
	return string(utf16.Decode(u)), nil
}

// parseXML decodes the images one by one and requires exactly the indexes from
// 1 to count, each once.
func parseXML(text string, count int) ([]Image, error) {
	d := xml.NewTokenDecoder(newBoundedTokens(text))
	images := make([]Image, 0, min(count, 1024))
	seenRoot := false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, corrupt("%s: %v", tableXML, err)
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if !seenRoot {
			if start.Name.Local != "WIM" {
				return nil, corrupt("%s: root element is %q, not WIM", tableXML, start.Name.Local)
			}
			seenRoot = true
			continue
		}
		if start.Name.Local != "IMAGE" {
			if err := d.Skip(); err != nil {
				return nil, corrupt("%s: %v", tableXML, err)
			}
			continue
		}
		if len(images) == count {
			return nil, corrupt("%s: more images than the %d of the header", tableXML, count)
		}
		var x imageXML
		if err := d.DecodeElement(&x, &start); err != nil {
			return nil, corrupt("%s: image %d: %v", tableXML, len(images)+1, err)
		}
		img := x.image()
		if img.Index < 1 || img.Index > count {
			return nil, corrupt("%s: image index %q is not in 1 to %d", tableXML, x.Index, count)
		}
		images = append(images, img)
	}
	if !seenRoot {
		return nil, corrupt("%s has no root element", tableXML)
	}
	if len(images) != count {
		return nil, corrupt("%s: %d images, the header says %d", tableXML, len(images), count)
	}
	slices.SortStableFunc(images, func(a, b Image) int { return a.Index - b.Index })
	for i := range images {
		if images[i].Index != i+1 {
			return nil, corrupt("%s: image index %d occurs twice", tableXML, images[i].Index)
		}
	}
	return images, nil
}

func (x *imageXML) image() Image {
	img := Image{
		Index:              int(number(x.Index)),
		Name:               strings.TrimSpace(x.Name),
		Description:        strings.TrimSpace(x.Description),
		DisplayName:        strings.TrimSpace(x.DisplayName),
		DisplayDescription: strings.TrimSpace(x.DisplayDescription),
		Flags:              strings.TrimSpace(x.Flags),
		Dirs:               number(x.DirCount),
		Files:              number(x.FileCount),
		TotalBytes:         number(x.TotalBytes),
		HardLinkBytes:      number(x.HardLinkBytes),
		Created:            x.Created.time(),
		Modified:           x.Modified.time(),
	}
	if w := x.Windows; w != nil {
		img.Arch = archName(strings.TrimSpace(w.Arch))
		img.ProductName = strings.TrimSpace(w.ProductName)
		img.Edition = strings.TrimSpace(w.Edition)
		img.InstallationType = strings.TrimSpace(w.InstallationType)
		img.SystemRoot = strings.TrimSpace(w.SystemRoot)
		img.DefaultLanguage = strings.TrimSpace(w.DefaultLanguage)
		for _, l := range w.Languages {
			img.Languages = append(img.Languages, strings.TrimSpace(l))
		}
		if v := w.Version; v != nil && strings.TrimSpace(v.Major) != "" {
			img.Version = fmt.Sprintf("%d.%d.%d.%d", number(v.Major), number(v.Minor), number(v.Build), number(v.SPBuild))
		}
	}
	return img
}

// archName turns PROCESSOR_ARCHITECTURE_* of the Windows SDK into Go's names.
func archName(s string) string {
	switch s {
	case "":
		return ""
	case "0":
		return "386"
	case "5":
		return "arm"
	case "6":
		return "ia64"
	case "9":
		return "amd64"
	case "12":
		return "arm64"
	}
	return "windows-" + strconv.FormatInt(number(s), 10)
}

// number reads a decimal number that is not negative; anything else is 0.
func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// time is the zero time when a half is missing or is not a number.
func (t timeXML) time() time.Time {
	high, err1 := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(t.High), "0x"), 16, 32)
	low, err2 := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(t.Low), "0x"), 16, 32)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	return fileTime(high<<32 | low)
}

// boundedTokens hands on the tokens of a decoder until a limit is passed.
// encoding/xml expands no entities beyond the five of XML, so nesting and
// number are all that has to be bounded.
type boundedTokens struct {
	d        *xml.Decoder
	depth    int
	elements int
}

func newBoundedTokens(text string) *boundedTokens {
	d := xml.NewDecoder(strings.NewReader(text))
	// A declaration may still say "utf-16"; the text is UTF-8 by now.
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return &boundedTokens{d: d}
}

// Token implements xml.TokenReader.
func (b *boundedTokens) Token() (xml.Token, error) {
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
