package delivery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/deploy/rollout"
	"castpoint/web/api"
)

// maxDeviceLogs is how much is kept of a device's logs, in bytes: those of its oldest
// runs go first.
const maxDeviceLogs = 256 << 20

// maxRunLogs is how many logs a run may have, together no more than maxDeviceLogs.
const maxRunLogs = 200

// logTime is how long a machine may be silent while it sends a log.
const logTime = 30 * time.Second

var logName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// takeLog takes a log of a run: whole, or not at all.
func (d *Delivery) takeLog(w http.ResponseWriter, r *http.Request) error {
	run, err := d.run(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if len(name) > protocol.MaxLogName || !logName.MatchString(name) {
		return api.Refusal(http.StatusBadRequest, "", "", "log %.64q: want a name of up to %d letters, digits, dots, hyphens and underscores", name, protocol.MaxLogName)
	}
	folder := filepath.Join(d.logs, run.Device, run.ID)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("folder of logs: %w", err)
	}
	room, err := roomFor(folder, name)
	if err != nil {
		return err
	}
	if room <= 0 {
		return api.Refusal(http.StatusRequestEntityTooLarge, "", "", "log %s of run %s: a run has %d logs and %d bytes of them at most", name, run.ID, maxRunLogs, maxDeviceLogs)
	}
	body := &patient{r: http.MaxBytesReader(w, r.Body, min(protocol.MaxLog, room)), control: http.NewResponseController(w), room: d.cfg.Library.HasRoomInReserve}
	if err := writeWhole(folder, name, body); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return api.Refusal(http.StatusRequestEntityTooLarge, "", "", "log %s is larger than %d bytes", name, tooLarge.Limit)
		}
		if errors.Is(err, content.ErrNoSpace) {
			return api.Refusal(http.StatusInsufficientStorage, "", "", "log %s of run %s: %v", name, run.ID, err)
		}
		return fmt.Errorf("log %s of run %s: %w", name, run.ID, err)
	}
	if err := d.trimLogs(run); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// roomFor is how many bytes a log of a run may have, beside its other ones; 0 for
// none. One of the same name is replaced.
func roomFor(folder, name string) (int64, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, fmt.Errorf("folder of logs: %w", err)
	}
	room, others := int64(maxDeviceLogs), 0
	for _, e := range entries {
		if e.Name() == name {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("folder of logs: %w", err)
		}
		room, others = room-info.Size(), others+1
	}
	if others >= maxRunLogs {
		return 0, nil
	}
	return room, nil
}

// patient gives every read of a long body its own time, and stops when the disk is nearly
// full: many machines may send their logs at once.
type patient struct {
	r       io.Reader
	control *http.ResponseController
	room    func(bytes int64) error
	granted int64
}

// logRoom is after how many bytes a log asks for room again.
const logRoom = 1 << 20

func (p *patient) Read(b []byte) (n int, err error) {
	if p.granted <= 0 {
		if err := p.room(logRoom); err != nil {
			return 0, err
		}
		p.granted = logRoom
	}
	defer func() { p.granted -= int64(n) }()
	if err := p.control.SetReadDeadline(time.Now().Add(logTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.r.Read(b)
}

// writeWhole writes a file so that it is there whole or not at all.
func writeWhole(folder, name string, from io.Reader) (err error) {
	f, err := os.CreateTemp(folder, ".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(folder, name))
}

// trimLogs deletes the logs of a device's oldest runs when it has too many. Those of
// the run itself stay.
func (d *Delivery) trimLogs(run rollout.Run) error {
	top := filepath.Join(d.logs, run.Device)
	runs, err := os.ReadDir(top)
	if err != nil {
		return fmt.Errorf("trim logs: %w", err)
	}
	type folder struct {
		path string
		size int64
		at   time.Time
	}
	var list []folder
	total := int64(0)
	for _, entry := range runs {
		one := folder{path: filepath.Join(top, entry.Name())}
		err := filepath.WalkDir(one.path, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			st, err := e.Info()
			if err == nil {
				one.size += st.Size()
				if st.ModTime().After(one.at) {
					one.at = st.ModTime()
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim logs: %w", err)
		}
		total += one.size
		if entry.Name() != run.ID {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b folder) int { return a.at.Compare(b.at) })
	for _, one := range list {
		if total <= maxDeviceLogs {
			break
		}
		if err := os.RemoveAll(one.path); err != nil {
			return fmt.Errorf("trim logs: %w", err)
		}
		total -= one.size
	}
	return nil
}

// Log is one log of a run.
type Log struct {
	Name string    `json:"name"`
	Size int64     `json:"size"`
	Time time.Time `json:"time"`
}

// Logs lists the logs of a run.
func (d *Delivery) Logs(run *rollout.Run) ([]Log, error) {
	entries, err := os.ReadDir(filepath.Join(d.logs, run.Device, run.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("logs of run %s: %w", run.ID, err)
	}
	var list []Log
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			list = append(list, Log{e.Name(), st.Size(), st.ModTime().UTC()})
		}
	}
	return list, nil
}

// OpenLog opens a log of a run; the caller closes it.
func (d *Delivery) OpenLog(run *rollout.Run, name string) (*os.File, error) {
	if !logName.MatchString(name) {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "log %.64q is no name of one", name)
	}
	f, err := os.Open(filepath.Join(d.logs, run.Device, run.ID, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "", "run %s has no log %s", run.ID, name)
	}
	return f, err
}
