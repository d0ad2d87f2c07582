package winpe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"castpoint/boot/bcd"
)

// Report says what machines can boot an image, and why others cannot.
type Report struct {
	Index   int          `json:"index"`
	Arch    string       `json:"arch,omitempty"`
	Version string       `json:"version,omitempty"`
	Boots   []Boots      `json:"boots"`
	Files   []ReportFile `json:"files"`
	Missing []Missing    `json:"missing"`
}

// Boots says whether one kind of machine boots by Microsoft's chain.
type Boots struct {
	Firmware string `json:"firmware"`
	Yes      bool   `json:"yes"`
	Why      string `json:"why,omitempty"` // what stands in the way, or is used
}

// ReportFile is a boot file that is there.
type ReportFile struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Extra   bool     `json:"extra,omitempty"` // beside the image, not in it
	Size    int64    `json:"size"`
	Signers []Signer `json:"signers,omitempty"`
	Problem string   `json:"problem,omitempty"` // why the signature cannot be read, or is none
}

// Report looks at all boot files and at who signed them.
func (img *Image) Report() *Report {
	r := &Report{Index: img.Index(), Arch: img.Arch(), Version: img.Version(), Files: []ReportFile{}, Missing: img.Missing()}
	for _, found := range img.Files() {
		f := ReportFile{Name: found.Name, Path: found.Path, Extra: found.Extra, Size: found.Size}
		var err error
		// Fonts, lists and BIOS first stages are no PE programs.
		if f.Signers, err = img.Signers(found); err != nil && !errors.Is(err, ErrNotPE) {
			f.Problem = err.Error()
		}
		r.Files = append(r.Files, f)
	}
	r.Boots = r.boots(img)
	return r
}

func (r *Report) boots(img *Image) []Boots {
	lacks := func(fw bcd.Firmware) string {
		var names []string
		for _, m := range img.Obstacles(fw) {
			names = append(names, m.Name)
		}
		if len(names) == 0 {
			return ""
		}
		return "missing: " + strings.Join(names, ", ")
	}
	uefi := lacks(bcd.UEFI)
	list := []Boots{{Firmware: "UEFI, Secure Boot off", Yes: uefi == "", Why: uefi}}
	for _, year := range []int{2011, 2023} {
		b := Boots{Firmware: fmt.Sprintf("UEFI, Secure Boot with Microsoft's CA of %d", year), Why: uefi}
		if uefi == "" {
			b.Yes, b.Why = r.signed(year)
		}
		list = append(list, b)
	}
	if img.x86() {
		bios := lacks(bcd.BIOS)
		list = append(list, Boots{Firmware: "BIOS", Yes: bios == "", Why: bios})
	}
	return list
}

// signed finds the boot manager that a firmware starts which trusts the CA of that
// year only.
func (r *Report) signed(year int) (ok bool, why string) {
	for _, f := range r.Files {
		if f.Name != BootManager && f.Name != BootManagerEX {
			continue
		}
		i := slices.IndexFunc(f.Signers, func(s Signer) bool { return s.Year == year })
		switch {
		case i < 0:
		case f.Signers[i].Problem != "":
			why = f.Name + ": " + f.Signers[i].Problem
		case f.Name == BootManagerEX:
			return true, fmt.Sprintf("with %s (setting ca=%d)", f.Name, year)
		default:
			return true, "with " + f.Name
		}
	}
	if why == "" {
		why = fmt.Sprintf("no boot manager is signed under the CA of %d", year)
	}
	return false, why
}

// Print writes the report for people. table writes rows in columns.
func (r *Report) Print(out io.Writer, now time.Time, table func(io.Writer, [][]string) error) error {
	rows := [][]string{{"BOOTS", "", ""}}
	for _, b := range r.Boots {
		yes := "no"
		if b.Yes {
			yes = "yes"
		}
		rows = append(rows, []string{b.Firmware, yes, b.Why})
	}
	if err := table(out, rows); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	rows = [][]string{{"BOOT FILE", "BYTES", "SIGNED BY", "CA", "UNTIL"}}
	for _, f := range r.Files {
		row := []string{f.Name, fmt.Sprint(f.Size), "-"}
		if f.Problem != "" {
			row[2] = f.Problem
		}
		if len(f.Signers) > 0 { // the others are for older firmware
			s := f.Signers[0]
			until := s.NotAfter.Format(time.DateOnly)
			if s.Expired(now) {
				until += " (over, which firmware does not mind)"
			}
			by := s.Subject
			if s.Problem != "" {
				by += ": " + s.Problem
			}
			row = append(row[:2], by, s.CA, until)
		}
		rows = append(rows, row)
	}
	if err := table(out, rows); err != nil {
		return err
	}
	for _, m := range r.Missing {
		needed := ""
		switch {
		case m.UEFI && m.BIOS:
			needed = " (needed)"
		case m.UEFI:
			needed = " (needed by UEFI)"
		case m.BIOS:
			needed = " (needed by BIOS)"
		}
		if _, err := fmt.Fprintf(out, "missing: %s%s: %s\n", m.Name, needed, m.Without); err != nil {
			return err
		}
	}
	return nil
}
