package wim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/content/wim/format"
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
func readXML(r io.ReaderAt, h *format.Header) ([]Image, error) {
	text, err := format.ReadXML(r, h)
	if err != nil {
		return nil, err
	}
	return parseXML(text, int(h.Images))
}

// parseXML decodes the images one by one and requires exactly the indexes from
// 1 to count, each once.
func parseXML(text string, count int) ([]Image, error) {
	d := xml.NewTokenDecoder(format.NewTokens(text))
	images := make([]Image, 0, min(count, 1024))
	seenRoot := false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, format.Corrupt("%s: %v", format.TableXML, err)
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if !seenRoot {
			if start.Name.Local != "WIM" {
				return nil, format.Corrupt("%s: root element is %q, not WIM", format.TableXML, start.Name.Local)
			}
			seenRoot = true
			continue
		}
		if start.Name.Local != "IMAGE" {
			if err := d.Skip(); err != nil {
				return nil, format.Corrupt("%s: %v", format.TableXML, err)
			}
			continue
		}
		if len(images) == count {
			return nil, format.Corrupt("%s: more images than the %d of the header", format.TableXML, count)
		}
		var x imageXML
		if err := d.DecodeElement(&x, &start); err != nil {
			return nil, format.Corrupt("%s: image %d: %v", format.TableXML, len(images)+1, err)
		}
		img := x.image()
		if img.Index < 1 || img.Index > count {
			return nil, format.Corrupt("%s: image index %q is not in 1 to %d", format.TableXML, x.Index, count)
		}
		images = append(images, img)
	}
	if !seenRoot {
		return nil, format.Corrupt("%s has no root element", format.TableXML)
	}
	if len(images) != count {
		return nil, format.Corrupt("%s: %d images, the header says %d", format.TableXML, len(images), count)
	}
	slices.SortStableFunc(images, func(a, b Image) int { return a.Index - b.Index })
	for i := range images {
		if images[i].Index != i+1 {
			return nil, format.Corrupt("%s: image index %d occurs twice", format.TableXML, images[i].Index)
		}
	}
	return images, nil
}

func (x *imageXML) image() Image {
	img := Image{
		Index:              int(format.Number(x.Index)),
		Name:               strings.TrimSpace(x.Name),
		Description:        strings.TrimSpace(x.Description),
		DisplayName:        strings.TrimSpace(x.DisplayName),
		DisplayDescription: strings.TrimSpace(x.DisplayDescription),
		Flags:              strings.TrimSpace(x.Flags),
		Dirs:               format.Number(x.DirCount),
		Files:              format.Number(x.FileCount),
		TotalBytes:         format.Number(x.TotalBytes),
		HardLinkBytes:      format.Number(x.HardLinkBytes),
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
			img.Version = fmt.Sprintf("%d.%d.%d.%d", format.Number(v.Major), format.Number(v.Minor), format.Number(v.Build), format.Number(v.SPBuild))
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
	return "windows-" + strconv.FormatInt(format.Number(s), 10)
}

// time is the zero time when a half is missing or is not a number.
func (t timeXML) time() time.Time {
	high, err1 := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(t.High), "0x"), 16, 32)
	low, err2 := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(t.Low), "0x"), 16, 32)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	return format.Time(high<<32 | low)
}
