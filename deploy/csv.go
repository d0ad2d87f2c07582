package deploy

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// columnVariable is the beginning of the columns of variables: var.OWNER.
const columnVariable = "var."

// columns are the columns of a table of devices but for variables, in the order in
// which they are written, and what reads and writes each.
var columns = []struct {
	name string
	get  func(*Device) string
	set  func(*Device, string) error
}{
	{"name", func(d *Device) string { return d.Name }, func(d *Device, s string) error { d.Name = s; return nil }},
	{"uuid", func(d *Device) string { return d.UUID }, func(d *Device, s string) error { d.UUID = s; return nil }},
	{"mac", func(d *Device) string { return strings.Join(d.MACs, " ") }, func(d *Device, s string) error { d.MACs = words(s); return nil }},
	{"state", func(d *Device) string { return string(d.State) }, func(d *Device, s string) error {
		if s != "" {
			d.State = State(strings.ToLower(s))
		}
		return nil
	}},
	{"protected", func(d *Device) string { return strconv.FormatBool(d.Protected) }, func(d *Device, s string) (err error) {
		switch s = strings.ToLower(s); s {
		case "", "no":
			s = "false"
		case "yes":
			s = "true"
		}
		if d.Protected, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%w: protected %q: want true or false, or yes or no", ErrInvalid, s)
		}
		return nil
	}},
	{"groups", func(d *Device) string { return strings.Join(d.Groups, " ") }, func(d *Device, s string) error { d.Groups = words(s); return nil }},
	{"notes", func(d *Device) string { return d.Notes }, func(d *Device, s string) error { d.Notes = s; return nil }},
	{"boot", func(d *Device) string { return strings.Join(d.Boot.Settings, " ") }, func(d *Device, s string) error { d.Boot.Settings = strings.Fields(s); return nil }},
	{"boot-image", func(d *Device) string { return d.Boot.Image }, func(d *Device, s string) error { d.Boot.Image = s; return nil }},
	{"loader", func(d *Device) string { return d.Boot.Loader }, func(d *Device, s string) error { d.Boot.Loader = s; return nil }},
	{"style", func(d *Device) string { return d.Boot.Style }, func(d *Device, s string) error { d.Boot.Style = s; return nil }},
	{"delay", func(d *Device) string {
		if d.Boot.Delay == nil {
			return ""
		}
		return strconv.Itoa(*d.Boot.Delay)
	}, func(d *Device, s string) error {
		d.Boot.Delay = nil
		if s == "" {
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("%w: delay %q: want a number of seconds", ErrInvalid, s)
		}
		d.Boot.Delay = &n
		return nil
	}},
}

// words splits what is separated by blanks, commas or semicolons.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\n,;|", r) })
}

// WriteCSV writes a table of devices that ImportCSV reads.
func WriteCSV(w io.Writer, list []Device) error {
	var header, variables []string
	for _, c := range columns {
		header = append(header, c.name)
	}
	for _, d := range list {
		for name := range d.Variables {
			if !slices.Contains(variables, name) {
				variables = append(variables, name)
			}
		}
	}
	slices.Sort(variables)
	for _, name := range variables {
		header = append(header, columnVariable+name)
	}
	out := csv.NewWriter(w)
	_ = out.Write(header) // Flush and Error say what went wrong
	for i := range list {
		var row []string
		for _, c := range columns {
			row = append(row, c.get(&list[i]))
		}
		for _, name := range variables {
			row = append(row, list[i].Variables[name])
		}
		_ = out.Write(row)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write devices: %w", err)
	}
	return nil
}

// Imported says what an import did.
type Imported struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Same    int `json:"same"` // nothing to change
}

// maxImportErrors is how many wrong lines are told at once.
const maxImportErrors = 20

// csvLine is a row of a table and the line it begins in.
type csvLine struct {
	number int
	cells  []string
}

// Limits of a table, far above what one is: what is refused here costs nothing.
const (
	maxImportLines   = 200_000
	maxImportLine    = 64 << 10 // bytes
	maxImportColumns = 256
)

// checkSize refuses a table that nobody has written, before it is split.
func checkSize(data []byte) error {
	n := 0
	for line := range bytes.Lines(data) {
		if n++; n > maxImportLines {
			return fmt.Errorf("%w: the table has more than %d lines: import it in parts", ErrInvalid, maxImportLines)
		}
		if len(line) > maxImportLine {
			return fmt.Errorf("%w: line %d is longer than %d bytes", ErrInvalid, n, maxImportLine)
		}
		if n == 1 && bytes.Count(line, []byte(","))+bytes.Count(line, []byte(";")) >= maxImportColumns {
			return fmt.Errorf("%w: line 1: more than %d columns", ErrInvalid, maxImportColumns)
		}
	}
	return nil
}

// readCSV splits a table: its first line names the columns. Tables of office
// programs in many countries have semicolons, and a byte order mark.
func readCSV(data []byte) (header []string, lines []csvLine, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := checkSize(data); err != nil {
		return nil, nil, err
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	in := csv.NewReader(bytes.NewReader(data))
	in.FieldsPerRecord = -1
	in.TrimLeadingSpace = true
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		in.Comma = ';'
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err) // names line and column
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		number, _ := in.FieldPos(0)
		if header == nil {
			header = cells
			continue
		}
		lines = append(lines, csvLine{number, cells})
	}
	if header == nil {
		return nil, nil, fmt.Errorf("%w: the table is empty: its first line names the columns, as in name,uuid,mac", ErrInvalid)
	}
	return header, lines, nil
}

// setters are what sets each column of a table.
func setters(header []string) ([]func(*Device, string) error, error) {
	var all []func(*Device, string) error
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	for i, title := range header {
		name := strings.ToLower(title)
		if name == "macs" || name == "macaddress" || name == "mac address" {
			name = "mac"
		}
		if slices.Contains(header[:i], title) {
			return nil, fmt.Errorf("%w: line 1: column %q is there twice", ErrInvalid, title)
		}
		if variable, ok := strings.CutPrefix(title, columnVariable); ok {
			all = append(all, func(d *Device, s string) error {
				if s == "" {
					delete(d.Variables, variable)
					return nil
				}
				if d.Variables == nil {
					d.Variables = make(map[string]string)
				}
				d.Variables[variable] = s
				return nil
			})
			continue
		}
		at := slices.Index(names, name)
		if at < 0 {
			return nil, fmt.Errorf("%w: line 1: there is no column %q: known are %s and %sNAME", ErrInvalid, title, strings.Join(names, ", "), columnVariable)
		}
		all = append(all, columns[at].set)
	}
	return all, nil
}

// ImportCSV puts the devices of a table on record, all or none. A row that has the
// UUID, a MAC or the name of a device on record changes that device, and only the
// columns that the table has. Errors name the lines.
func (d *Devices) ImportCSV(ctx context.Context, data []byte, by string) (Imported, error) {
	header, lines, err := readCSV(data)
	if err != nil {
		return Imported{}, err
	}
	set, err := setters(header)
	if err != nil {
		return Imported{}, err
	}
	d.edit.Lock()
	defer d.edit.Unlock()
	plan, errs := d.planImport(header, set, lines)
	if len(errs) > 0 {
		if more := len(errs) - maxImportErrors; more > 0 {
			errs = append(errs[:maxImportErrors], fmt.Errorf("and %d more lines", more))
		}
		return Imported{}, fmt.Errorf("nothing was imported: %w", errors.Join(errs...))
	}
	return d.runImport(ctx, plan, by)
}

// importPlan is what an import would do: devices as they are to be, in a copy of
// the index that shows whether they get on with each other.
type importPlan struct {
	Imported
	old, now []*Device // old is nil for a new one
}

func (d *Devices) planImport(header []string, set []func(*Device, string) error, lines []csvLine) (*importPlan, []error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	trial, err := newIndex(d.index.sharedMACs, nil)
	if err != nil {
		return nil, []error{err}
	}
	trial.sharedIDs = d.index.sharedIDs
	for _, one := range d.index.byID {
		trial.add(one)
	}
	plan := &importPlan{}
	lineOf := make(map[string]int) // by id
	var errs []error
	for _, line := range lines {
		fail := func(err error) { errs = append(errs, fmt.Errorf("line %d: %w", line.number, err)) }
		if len(line.cells) != len(header) {
			fail(fmt.Errorf("%w: %d columns, the first line has %d", ErrInvalid, len(line.cells), len(header)))
			continue
		}
		old, one, err := d.importRow(trial, set, line)
		if err == nil {
			err = trial.clash(one)
		}
		if err == nil && lineOf[one.ID] != 0 {
			err = fmt.Errorf("%w: device %s is in line %d already", ErrExists, one.Label(), lineOf[one.ID])
		}
		if err != nil {
			fail(err)
			continue
		}
		lineOf[one.ID] = line.number
		switch {
		case old == nil:
			plan.Added++
		case same(old, one):
			plan.Same++
			continue
		default:
			trial.remove(old)
			plan.Changed++
		}
		trial.add(one)
		plan.old, plan.now = append(plan.old, old), append(plan.now, one)
	}
	return plan, errs
}

// importRow makes the device of a row. mu is held.
func (d *Devices) importRow(trial *index, set []func(*Device, string) error, line csvLine) (old, one *Device, err error) {
	read := func(d *Device) error {
		for i, cell := range line.cells {
			if err := set[i](d, cell); err != nil {
				return err
			}
		}
		return d.normalize()
	}
	row := &Device{ID: newID(), State: StateImported, Created: d.now().UTC()}
	// A row may know a device by its name alone, so addresses may be missing in
	// it; normalize says so when it is a new one.
	rowErr := read(row)
	if errors.Is(rowErr, ErrInvalid) && row.Name != "" && row.UUID == "" && len(row.MACs) == 0 {
		old = trial.byName[strings.ToLower(row.Name)]
	}
	if old == nil {
		if rowErr != nil {
			return nil, nil, rowErr
		}
		found := map[*Device]bool{}
		for _, u := range []string{row.UUID, otherOrder(row.UUID)} {
			if o := trial.byUUID[u]; o != nil {
				found[o] = true
			}
		}
		for _, mac := range row.MACs {
			if o := trial.byMAC[mac]; o != nil {
				found[o] = true
			}
		}
		if o := trial.byName[strings.ToLower(row.Name)]; o != nil && len(found) == 0 {
			found[o] = true
		}
		if len(found) > 1 {
			return nil, nil, fmt.Errorf("%w: its UUID and MACs belong to %d devices on record", ErrExists, len(found))
		}
		for o := range found {
			old = o
		}
	}
	if old == nil {
		return nil, row, nil
	}
	one = old.clone()
	if err := read(one); err != nil {
		return nil, nil, err
	}
	if one.State == StateWaiting {
		one.State = StateKnown // somebody has named it: that is an approval
	}
	if old.Protected && !same(old, one) {
		return nil, nil, fmt.Errorf("%w: %s", ErrProtected, old.Label())
	}
	return old, one, nil
}

// same says whether two states of a device differ in nothing that people set.
func same(a, b *Device) bool {
	ra, errA := a.row()
	rb, errB := b.row()
	if errA != nil || errB != nil {
		return false
	}
	return ra.Name == rb.Name && ra.UUID == rb.UUID && slices.Equal(ra.MACs, rb.MACs) && ra.State == rb.State && ra.Protected == rb.Protected &&
		ra.Notes == rb.Notes && slices.Equal(ra.Groups, rb.Groups) && bytes.Equal(ra.Settings, rb.Settings) && fmt.Sprint(ra.Variables) == fmt.Sprint(rb.Variables)
}

// runImport writes the devices and then takes them into memory. edit is held.
func (d *Devices) runImport(ctx context.Context, plan *importPlan, by string) (Imported, error) {
	if len(plan.now) == 0 {
		return plan.Imported, nil
	}
	swap := func(from, to []*Device) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, one := range from {
			if one != nil {
				if now := d.index.byID[one.ID]; now != nil {
					d.index.remove(now)
					d.count(now.State, -1)
				}
			}
		}
		for _, one := range to {
			if one != nil {
				d.index.add(one)
				d.count(one.State, 1)
			}
		}
	}
	var ids []string
	for _, one := range plan.now {
		ids = append(ids, one.ID)
	}
	swap(plan.old, plan.now)
	if err := d.put(ctx, ids...); err != nil {
		swap(plan.now, plan.old)
		return Imported{}, err
	}
	for i, one := range plan.now {
		what := "imported"
		if plan.old[i] != nil {
			what = "changed by an import"
		}
		d.tell(one, by, what)
	}
	return plan.Imported, nil
}

// All are all devices, in the order of lists.
func (d *Devices) All() []Device { return d.Where(func(*Device) bool { return true }) }
