package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"castpoint/test/point"
)

// operator is somebody who uses castpoint's commands all the time.
type operator struct {
	*soak
	rand   *rand.Rand
	stream uint64   // tells operators apart: what one has begun may be there in the end
	added  []string // contents that are removed again
	count  int
}

// mostAdded is how many contents the operator keeps.
const mostAdded = 6

// work uses one command after the other until ctx ends.
func (o *operator) work(ctx context.Context) {
	deeds := []func(context.Context){o.add, o.remove, o.note, o.note, o.note, o.look, o.look, o.validate, o.reload}
	for ctx.Err() == nil {
		deeds[o.rand.IntN(len(deeds))](ctx)
		select {
		case <-time.After(time.Duration(o.rand.IntN(2000)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// command runs castpoint on the data folder. Commands that have begun are let end:
// the soak's end is no kill.
func (o *operator) command(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return o.user.Run(ctx, append(args, "--data", o.user.Data)...)
}

// add adds a package of random bytes.
func (o *operator) add(ctx context.Context) {
	if len(o.added) >= mostAdded {
		o.remove(ctx)
		return
	}
	o.count++
	dir := filepath.Join(o.network.Dir, "package")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		o.tally.fault("%w", err)
		return
	}
	b := make([]byte, 1+o.rand.IntN(8<<20))
	for i := range b {
		b[i] = byte(o.rand.Uint32())
	}
	if err := os.WriteFile(filepath.Join(dir, "data.bin"), b, 0o644); err != nil {
		o.tally.fault("%w", err)
		return
	}
	began := time.Now()
	out, err := o.command(ctx, "content", "add", "package", dir, "--name", fmt.Sprintf("package-%d-%d", o.stream, o.count), "--json")
	if err != nil {
		o.promises.unsureContent()
		o.tally.failed("content add", began, err)
		return
	}
	var c point.Content
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		o.tally.fault("content add wrote no JSON: %w", err)
		return
	}
	o.promises.content(c.ID, true)
	o.added = append(o.added, c.ID)
	o.tally.right("content add")
}

func (o *operator) remove(ctx context.Context) {
	if len(o.added) == 0 {
		return
	}
	i := o.rand.IntN(len(o.added))
	id := o.added[i]
	o.promises.content(id, false)
	began := time.Now()
	switch _, err := o.command(ctx, "content", "remove", id); {
	case err == nil:
		o.tally.right("content remove")
	case point.Code(err) == 4: // an earlier one had been carried out, and its answer lost
		o.tally.refused("content remove")
	default:
		o.tally.failed("content remove", began, err)
		return
	}
	o.promises.gone(id)
	o.added = slices.Delete(o.added, i, i+1)
}

// note changes the record of a device.
func (o *operator) note(ctx context.Context) {
	o.count++
	device, text := fmt.Sprintf("pc-%d", 1+o.rand.IntN(len(o.machines))), fmt.Sprintf("note %d of %d", o.count, o.stream)
	began := time.Now()
	_, err := o.command(ctx, "device", "set", device, "--notes", text)
	o.promises.note(device, text, err == nil)
	if err != nil {
		o.tally.failed("device set", began, err)
		return
	}
	o.tally.right("device set")
}

// look asks for lists, as a page that is open does.
func (o *operator) look(ctx context.Context) {
	ask := [][]string{{"session", "list"}, {"device", "list"}, {"dhcp", "leases"}, {"status"}, {"content", "list"}, {"device", "timeline", "pc-1"},
		{"run", "list", "pc-2"}, {"deployment", "show", "soak"}, {"explain", "--mac", o.machines[0].self.MAC.String()}}[o.rand.IntN(9)]
	began := time.Now()
	if _, err := o.command(ctx, append(ask, "--json")...); err != nil {
		o.tally.failed(strings.Join(ask[:min(2, len(ask))], " "), began, err)
		return
	}
	o.tally.right("lists")
}

func (o *operator) validate(ctx context.Context) {
	began := time.Now()
	if out, err := o.command(ctx, "content", "validate", o.image.id); err != nil {
		o.tally.failed("content validate", began, fmt.Errorf("%w: %s", err, out))
		return
	}
	o.tally.right("content validate")
}

func (o *operator) reload(ctx context.Context) {
	began := time.Now()
	if _, err := o.command(ctx, "reload"); err != nil {
		o.tally.failed("reload", began, err)
		return
	}
	o.tally.right("reload")
}

// list unmarshals what a command lists.
func (s *soak) list(ctx context.Context, to any, args ...string) error {
	out, err := s.point.Run(ctx, append(args, "--data", s.point.Data, "--json")...)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(to); err != nil {
		return fmt.Errorf("castpoint %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// ask compares everything that was promised with what the server has.
func (s *soak) ask(ctx context.Context) error {
	var leases []struct{ Address, MAC string }
	at := time.Now()
	if err := s.list(ctx, &leases, "dhcp", "leases"); err != nil {
		return err
	}
	byAddress := map[string]string{}
	for _, l := range leases {
		if byAddress[l.Address] != "" {
			s.tally.fault("castpoint dhcp leases lists %s twice", l.Address)
		}
		byAddress[l.Address] = l.MAC
	}
	broken := s.promises.keptLeases(byAddress, at)

	var contents []point.Content
	if err := s.list(ctx, &contents, "content", "list"); err != nil {
		return err
	}
	var ids []string
	for _, c := range contents {
		ids = append(ids, c.ID)
	}
	broken = append(broken, s.promises.keptContents(ids)...)
	if out, err := s.point.Run(ctx, "content", "validate", "--data", s.point.Data); err != nil {
		broken = append(broken, fmt.Sprintf("the library is damaged: %v: %s", err, out))
	}
	if left, err := os.ReadDir(filepath.Join(s.point.Data, "tmp")); err == nil && len(left) > 0 {
		broken = append(broken, fmt.Sprintf("%d files are left in the library's tmp, %s among them", len(left), left[0].Name()))
	}

	var devices []struct{ Name, Notes string }
	if err := s.list(ctx, &devices, "device", "list"); err != nil {
		return err
	}
	notes := map[string]string{}
	for _, d := range devices {
		notes[d.Name] = d.Notes
	}
	broken = append(broken, s.promises.keptNotes(notes)...)

	ran := map[string]int{}
	for _, m := range s.machines {
		var runs []struct{ State string }
		if err := s.list(ctx, &runs, "run", "list", m.deviceName()); err != nil {
			return err
		}
		for _, r := range runs {
			if r.State == "succeeded" {
				ran[m.deviceName()]++
			}
		}
	}
	broken = append(broken, s.promises.keptRuns(ran)...)
	for _, b := range broken {
		s.tally.fault("%s", b)
	}
	say("promises: %d leases, %d contents, %d devices, %d ended runs; %d broken", len(byAddress), len(ids), len(notes), total(ran), len(broken))
	return nil
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
