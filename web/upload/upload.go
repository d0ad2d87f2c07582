// Package upload takes files that come as the bodies of requests: so many at once, so
// long each, no more than there is room for, and none that stands still.
//
// An upload is begun ([Uploads.Begin]), read ([Upload.Reader], [Upload.Keep],
// [Upload.Unpack]) and ended
// ([Upload.End]), which takes away what is left of it. What a server that was killed has
// left is taken away by the next one ([Open]).
package upload

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"castpoint/agent/protocol"
	"castpoint/web/api"
)

// Limits of uploads. Zero fields are the defaults.
type Limits struct {
	Max   int           // at once
	Size  int64         // of one, in bytes
	Stall time.Duration // for the next 64 KiB
}

// Limits that are in force when nothing else is said.
const (
	DefaultMax   = 4
	DefaultSize  = 256 << 30
	DefaultStall = time.Minute
)

const (
	// prefix begins the names of the folders that files are kept in.
	prefix = "upload-"
	// stallBytes is what has to arrive in the time of Limits.Stall: a client that
	// sends a byte now and then stands still, too.
	stallBytes = 64 << 10
	// roomBytes is how often an upload of unknown length asks whether there is room.
	roomBytes = 16 << 20
	// maxMembers is the most members of an archive: contents have at most 100 000
	// files, and folders come with them.
	maxMembers = 250_000
	// retryTime is when one that found no place may ask again.
	retryTime = 30 * time.Second
	// Most clients read no answer before they have sent all: so much of what is
	// refused is read, and for so long, so that they hear why.
	drainBytes = 64 << 20
	drainTime  = 5 * time.Second
)

// Uploads are those that are going on. They are for many goroutines.
type Uploads struct {
	dir    string
	limits Limits
	room   func(bytes int64) error

	mu  sync.Mutex
	all map[*Upload]bool
}

// Open makes the keeper of the uploads in a folder, and takes away what is left of
// earlier ones. room says whether so many bytes may be written there.
func Open(dir string, limits Limits, room func(bytes int64) error) (*Uploads, error) {
	if limits.Max < 0 || limits.Size < 0 || limits.Stall < 0 || room == nil {
		return nil, fmt.Errorf("uploads: limits %+v cannot be", limits)
	}
	if limits.Max == 0 {
		limits.Max = DefaultMax
	}
	if limits.Size == 0 {
		limits.Size = DefaultSize
	}
	if limits.Stall == 0 {
		limits.Stall = DefaultStall
	}
	u := &Uploads{dir: dir, limits: limits, room: room, all: make(map[*Upload]bool)}
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), prefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("remove what is left of uploads: %w", err)
	}
	return u, nil
}

// Info says what an upload is.
type Info struct {
	Who   string    `json:"who"`            // sends it
	File  string    `json:"file,omitempty"` // its name; left out for an export
	Began time.Time `json:"began"`
	Done  int64     `json:"done"`            // bytes that have come
	Total int64     `json:"total,omitempty"` // bytes; left out when the client has not said
}

// Upload is one file on its way.
type Upload struct {
	of   *Uploads
	w    http.ResponseWriter
	r    *http.Request
	flow *http.ResponseController
	dir  string // that the file is kept in; "" for none

	info Info  // Done is guarded by of.mu
	room int64 // bytes that were said to fit; guarded by of.mu
}

// Begin takes the body of a request as an upload, or refuses it: 413 when it is too
// long, 429 when there are too many, or what room says when there is none for it.
func (u *Uploads) Begin(w http.ResponseWriter, r *http.Request, who, file string) (*Upload, error) {
	up := &Upload{of: u, w: w, r: r, flow: http.NewResponseController(w), info: Info{Who: who, File: file, Began: time.Now(), Total: max(0, r.ContentLength)}}
	err := u.admit(up)
	if err != nil {
		up.drain()
		return nil, err
	}
	return up, nil
}

func (u *Uploads) admit(up *Upload) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up.info.Total > u.limits.Size {
		return u.tooLong()
	}
	if len(u.all) >= u.limits.Max {
		up.w.Header().Set("Retry-After", strconv.Itoa(int(retryTime.Seconds())))
		p := api.Problem(http.StatusTooManyRequests, "wait until one has ended, or copy the file to the server's host and add it from there; the setting upload-max is the number",
			"%d uploads are going on already, which is the most that this server takes at once", len(u.all))
		p.Code = protocol.CodeTooMany
		return p
	}
	up.room = up.info.Total
	if err := u.roomFor(up.room); err != nil {
		return err
	}
	u.all[up] = true
	return nil
}

func (u *Uploads) tooLong() error {
	return api.Problem(http.StatusRequestEntityTooLarge, "copy the file to the server's host and add it from there, or raise the setting upload-size",
		"the file is longer than the %d bytes that this server takes as an upload", u.limits.Size)
}

// roomFor asks for room for more bytes, beside what other uploads will still bring.
// u.mu is held.
func (u *Uploads) roomFor(more int64) error {
	for up := range u.all {
		more += max(0, up.room-up.info.Done)
	}
	return u.room(more)
}

// Now are the uploads that are going on.
func (u *Uploads) Now() []Info {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]Info, 0, len(u.all))
	for up := range u.all {
		list = append(list, up.info)
	}
	return list
}

// End ends an upload, and takes away the file that was kept.
func (up *Upload) End() error {
	up.of.mu.Lock()
	delete(up.of.all, up)
	up.of.mu.Unlock()
	if up.dir == "" {
		return nil
	}
	return os.RemoveAll(up.dir)
}

// Keep reads the body into a file of that name, in a folder of its own.
func (up *Upload) Keep(name string) (file string, err error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("take upload %s: %w", name, err) }
	if err := os.MkdirAll(up.of.dir, 0o700); err != nil {
		return fail(err)
	}
	if up.dir, err = os.MkdirTemp(up.of.dir, prefix+"*"); err != nil {
		return fail(err)
	}
	file = filepath.Join(up.dir, name)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = io.Copy(f, up.Reader())
	if err = errors.Join(err, f.Close()); err != nil {
		if problem, ok := errors.AsType[*protocol.Problem](err); ok {
			return "", problem
		}
		return fail(err)
	}
	return file, nil
}

// Unpack reads the body as a tar archive of files and folders, and unpacks it into a
// folder of its own. Nothing else is taken: no links, no names that lead elsewhere.
func (up *Upload) Unpack() (dir string, err error) {
	fail := func(err error) (string, error) {
		if problem, ok := errors.AsType[*protocol.Problem](err); ok {
			return "", problem
		}
		return "", fmt.Errorf("take upload: %w", err)
	}
	if err := os.MkdirAll(up.of.dir, 0o700); err != nil {
		return fail(err)
	}
	if up.dir, err = os.MkdirTemp(up.of.dir, prefix+"*"); err != nil {
		return fail(err)
	}
	root, err := os.OpenRoot(up.dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	from := tar.NewReader(up.Reader())
	for n := 1; ; n++ {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return up.dir, nil
		}
		if err != nil {
			if _, ok := errors.AsType[*protocol.Problem](err); ok {
				return fail(err)
			}
			return "", api.Problem(http.StatusBadRequest, "send a tar archive", "the archive cannot be read behind its first %d members: %v", n-1, err)
		}
		if n > maxMembers {
			return "", api.Problem(http.StatusRequestEntityTooLarge, "", "the archive has more than %d members", maxMembers)
		}
		if err := unpack(root, h, from); err != nil {
			return fail(err)
		}
	}
}

// unpack writes one member of an archive.
func unpack(root *os.Root, h *tar.Header, from io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return api.Problem(http.StatusBadRequest, "name members relative to the archive's top, with slashes", "the archive's member %q has no name that can be taken", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o700)
	case tar.TypeReg:
	default:
		return api.Problem(http.StatusBadRequest, "", "the archive's member %q is neither a file nor a folder", h.Name)
	}
	// A file with holes is a regular one by its type, and of any length: a kilobyte
	// unpacks to a terabyte of zeros, which were never counted.
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return api.Problem(http.StatusBadRequest, "make the archive without tar --sparse", "the archive's member %q has holes", h.Name)
		}
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return api.Problem(http.StatusBadRequest, "", "the archive has two members %q", h.Name)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// Reader reads the body. It ends with an error when the body is longer than it may be,
// when it stands still, when there is no more room, or when the client goes away.
func (up *Upload) Reader() io.Reader { return &reader{up: up} }

type reader struct {
	up    *Upload
	since int64 // bytes since the deadline was set
	timed bool
	err   error
}

func (r *reader) Read(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if !r.timed || r.since >= stallBytes {
		// A request that comes without a network has no deadlines.
		_ = r.up.flow.SetReadDeadline(time.Now().Add(r.up.of.limits.Stall))
		r.timed, r.since = true, 0
	}
	n, err := r.up.r.Body.Read(b[:min(len(b), stallBytes)])
	r.since += int64(n)
	if err == nil || errors.Is(err, io.EOF) {
		if refused := r.up.count(n); refused != nil {
			err = refused
			r.up.drain()
		}
	} else {
		err = r.up.broken(err)
	}
	if err != nil {
		_ = r.up.flow.SetReadDeadline(time.Time{})
		r.err = err
	}
	return n, err
}

// count notes bytes that have come, and says whether more may.
func (up *Upload) count(n int) error {
	u := up.of
	u.mu.Lock()
	defer u.mu.Unlock()
	up.info.Done += int64(n)
	if up.info.Done > u.limits.Size {
		return u.tooLong()
	}
	if up.info.Done <= up.room {
		return nil
	}
	up.room = up.info.Done // what has come is counted by the disk
	if err := u.roomFor(roomBytes); err != nil {
		return err
	}
	up.room += roomBytes
	return nil
}

// broken says why a body has ended before its end.
func (up *Upload) broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return api.Problem(http.StatusRequestTimeout, "send it again", "the upload stood still for %s, and was given up", up.of.limits.Stall)
	}
	return api.Problem(http.StatusBadRequest, "send it again", "the upload broke off: %v", err)
}

// drain reads some of what is refused.
func (up *Upload) drain() {
	if up.r.Header.Get("Expect") != "" {
		return // the client waits for the answer before it sends anything
	}
	_ = up.flow.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, up.r.Body, drainBytes) // as far as it comes
}
