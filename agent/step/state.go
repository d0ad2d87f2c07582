package step

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"castpoint/agent/disk"
	"castpoint/agent/protocol"
)

// state is what a run needs when its machine starts again.
type state struct {
	Format  int    `json:"format"`
	Running string `json:"running,omitempty"` // path of the leaf that has begun
	Attempt int    `json:"attempt,omitempty"` // of it
	// Ended is the leaf that ended last, and how: the server may not have heard.
	Ended    string `json:"ended,omitempty"`
	EndState string `json:"end_state,omitempty"`
	ExitCode int    `json:"exit_code,omitempty"`
	// EndVariables are those that it has set.
	EndVariables map[string]protocol.VariableValue `json:"end_variables,omitempty"`
	Variables    map[string]protocol.VariableValue `json:"variables,omitempty"`
	Plans        []*disk.Plan                      `json:"plans,omitempty"`
	// Applied is the volume of the operating system.
	Applied string `json:"applied,omitempty"`
	// Fetched are contents that are on the disk: id -> folder below their volume.
	Fetched map[string]fetched `json:"fetched,omitempty"`
	// Restart says that a program has asked for one before the next step.
	Restart bool `json:"restart,omitempty"`
}

// fetched is where a content is.
type fetched struct {
	Volume string `json:"volume,omitempty"` // "" for a path of its own
	Folder string `json:"folder"`
}

const stateFormat = 1

// ended notes how a leaf has ended.
func (s *state) ended(path, how string, code int, set map[string]protocol.VariableValue) {
	s.Running, s.Ended, s.EndState, s.ExitCode, s.EndVariables = "", path, how, code, set
}

// keeper keeps the state on a disk.
type keeper struct {
	machine Machine
	run     string
	key     []byte
	disk    *disk.Disk // nil while there is none to keep it on
}

// find looks for the state of the run on the disks of the machine; nil when there
// is none.
func (k *keeper) find() (*state, error) {
	disks, err := k.machine.Disks()
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		b, err := k.read(d)
		if err != nil {
			continue // an empty disk, or another run's
		}
		s := &state{}
		if json.Unmarshal(b, s) != nil || s.Format != stateFormat {
			continue // of another version: the server knows where the run is
		}
		k.disk = &d
		return s, nil
	}
	return nil, nil
}

func (k *keeper) read(d disk.Disk) (b []byte, err error) {
	f, err := k.machine.OpenRecord(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return disk.ReadRecord(f, k.run, k.key)
}

// write keeps the state; without a disk it is in memory only.
func (k *keeper) write(s *state) (err error) {
	if k.disk == nil {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write the state of the run: %w", err)
	}
	f, err := k.machine.OpenRecord(*k.disk)
	if err != nil {
		return fmt.Errorf("write the state of the run: %w", err)
	}
	return errors.Join(disk.WriteRecord(f, k.run, k.key, b), f.Close())
}

// erase takes the state off the disk at the end of the run.
func (k *keeper) erase() error {
	if k.disk == nil {
		return nil
	}
	f, err := k.machine.OpenRecord(*k.disk)
	if err != nil {
		return fmt.Errorf("remove the state of the run: %w", err)
	}
	err = errors.Join(disk.EraseRecord(f), f.Close())
	k.disk = nil
	return err
}

// FindRun looks for the run that the disks of a machine have the state of; "" when
// there is none.
func FindRun(m Machine) string {
	disks, err := m.Disks()
	if err != nil {
		return ""
	}
	for _, d := range disks {
		f, err := m.OpenRecord(d)
		if err != nil {
			continue
		}
		run, err := disk.ReadRun(f)
		f.Close()
		if err == nil {
			return run
		}
	}
	return ""
}

// Forget removes the state of a run from the disks of a machine.
func Forget(m Machine, run string) {
	disks, err := m.Disks()
	if err != nil {
		return
	}
	for _, d := range disks {
		f, err := m.OpenRecord(d)
		if err != nil {
			continue
		}
		if found, err := disk.ReadRun(f); err == nil && found == run {
			_ = disk.EraseRecord(f) // it is sealed, and its key gone
		}
		f.Close()
	}
}

// volume finds a volume by its name in the plan that was made last.
func (s *state) volume(name string) (*disk.Plan, disk.Volume, error) {
	var names []string
	for i := len(s.Plans) - 1; i >= 0; i-- {
		if v, ok := s.Plans[i].Volume(name); ok {
			return s.Plans[i], v, nil
		}
		for _, v := range s.Plans[i].Volumes {
			names = append(names, v.Name)
		}
	}
	if len(names) == 0 {
		return nil, disk.Volume{}, fmt.Errorf("there is no volume %q: no partition-disk step has run", name)
	}
	return nil, disk.Volume{}, fmt.Errorf("there is no volume %q; there are %s", name, strings.Join(names, ", "))
}

// setPlan puts a plan in the place of the one for the same disk.
func (s *state) setPlan(p *disk.Plan) {
	for i, old := range s.Plans {
		if old.Disk.Path == p.Disk.Path {
			s.Plans = append(s.Plans[:i], s.Plans[i+1:]...)
			break
		}
	}
	s.Plans = append(s.Plans, p)
	s.Fetched = nil
}
