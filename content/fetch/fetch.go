// Package fetch downloads files by HTTP for the library: resumed where they broke
// off, checked, and no faster than allowed.
//
// Order of events: what an earlier attempt left is looked at; the rest is asked
// for with a range and the validator (ETag or date) that the beginning had; the
// whole is hashed. Only a file whose size and, when one is given, SHA-256 are
// right is handed out.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/cavaliergopher/grab/v3"
	"golang.org/x/time/rate"
)

// Errors that callers branch on.
var (
	// ErrURL: not an http or https URL of a file.
	ErrURL = errors.New("not a usable URL")
	// ErrChecksum: what came is not what was asked for. It is not kept.
	ErrChecksum = errors.New("wrong SHA-256")
	// ErrServer: the server refuses, or does not have it.
	ErrServer = errors.New("the server does not give it")
)

// Request is what to download.
type Request struct {
	URL string
	Dir string // folder for the file and for what an interrupted attempt leaves
	// SHA256 is what the file must have, in hexadecimal; "" takes what comes.
	SHA256 string
	Rate   int64 // bytes per second; 0 is no limit
	// Room, when not nil, is asked before the first byte is written whether there
	// is room for what is still to come; its error ends the download.
	Room func(bytes int64) error
	// Progress is told bytes done and in total (-1 when the server does not say)
	// several times a second; it may be nil.
	Progress func(done, total int64)
	Client   *http.Client // nil is one with sensible times
}

// Result is a downloaded file.
type Result struct {
	Path    string // in Request.Dir; the caller removes it with Remove
	Name    string // as the URL calls it
	Size    int64
	Resumed bool // a part of an earlier attempt was used

	state string
}

// Remove takes the file away when it is no longer needed.
func (r *Result) Remove() error {
	return errors.Join(os.Remove(r.Path), os.Remove(filepath.Dir(r.Path)), removeState(r.state))
}

func removeState(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Tuning.
const (
	progressEvery = 200 * time.Millisecond
	bufferSize    = 256 << 10 // bytes; also the burst of the rate limit
	answerTime    = 30 * time.Second
)

// IsURL says whether a path of a command line is a URL.
func IsURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// Name is what the file of a URL is called; "" when the URL names none.
func Name(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return ""
	}
	name := path.Base(path.Clean("/" + u.Path))
	if name == "/" || strings.ContainsAny(name, "\\\x00") {
		return ""
	}
	return name
}

// WithoutPassword is the URL without the password that it may have, fit to be
// kept and shown.
func WithoutPassword(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.User == nil {
		return rawURL
	}
	u.User = url.User(u.User.Username())
	return u.String()
}

// state is kept beside an unfinished file: without it the file is not trusted.
type state struct {
	URL       string `json:"url"`
	Validator string `json:"validator,omitempty"` // for If-Range
}

// stemOf is what the folder of a download is called, and the state beside it.
func stemOf(rawURL string) string {
	id := sha256.Sum256([]byte(rawURL))
	return hex.EncodeToString(id[:8])
}

// Get downloads. When it fails, or ctx ends, what has come stays for the next
// Get of the same URL, unless it was wrong. Two Gets of one URL into one folder
// must not run at the same time.
//
// Errors: ErrURL, ErrChecksum, ErrServer, those of network and disk.
func Get(ctx context.Context, r Request) (*Result, error) {
	name := Name(r.URL)
	if !IsURL(r.URL) || name == "" {
		return nil, fmt.Errorf("fetch %q: %w: want http://HOST/FILE or https://HOST/FILE", r.URL, ErrURL)
	}
	var want []byte
	if r.SHA256 != "" {
		var err error
		if want, err = hex.DecodeString(r.SHA256); err != nil || len(want) != sha256.Size {
			return nil, fmt.Errorf("fetch %s: SHA-256 %q: want 64 hexadecimal digits", r.URL, r.SHA256)
		}
	}
	stem := filepath.Join(r.Dir, stemOf(r.URL))
	if err := os.MkdirAll(stem, 0o700); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", r.URL, err)
	}
	// A folder of its own, so that the file has the name that people know.
	d := &download{request: r, want: want, file: filepath.Join(stem, name), state: stem + ".json"}
	resumed, err := d.run(ctx)
	if errors.Is(err, errAgain) {
		// The file on the server is another by now, or the server cannot resume.
		if err = d.discard(); err == nil {
			resumed, err = d.run(ctx)
		}
	}
	if err != nil {
		_ = os.Remove(stem) // the folder, if nothing is in it
		return nil, fmt.Errorf("fetch %s: %w", r.URL, err)
	}
	st, err := os.Stat(d.file)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", r.URL, err)
	}
	return &Result{Path: d.file, Name: name, Size: st.Size(), Resumed: resumed, state: d.state}, nil
}

// errAgain asks for a download from the start.
var errAgain = errors.New("what is there does not fit")

// download is one attempt.
type download struct {
	request Request
	want    []byte
	file    string
	state   string
}

// discard throws away what an earlier attempt left.
func (d *download) discard() error {
	if err := os.Remove(d.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeState(d.state)
}

// validator is what the beginning of the file came with; ok is false when it
// cannot be continued.
func (d *download) validator() (validator string, have int64, ok bool) {
	b, err := os.ReadFile(d.state)
	if err != nil {
		return "", 0, false
	}
	var s state
	info, err := os.Stat(d.file)
	if err != nil || json.Unmarshal(b, &s) != nil || s.URL != d.request.URL || s.Validator == "" {
		return "", 0, false
	}
	// An addition that was killed may have made it read-only.
	if os.Chmod(d.file, 0o600) != nil {
		return "", 0, false
	}
	return s.Validator, info.Size(), true
}

func (d *download) run(ctx context.Context) (resumed bool, err error) {
	validator, have, ok := d.validator()
	if !ok {
		if err := d.discard(); err != nil {
			return false, err
		}
	}
	req, err := grab.NewRequest(d.file, d.request.URL)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrURL, err)
	}
	req = req.WithContext(ctx)
	req.IgnoreRemoteTime = true
	req.BufferSize = bufferSize
	g := &gate{room: d.request.Room}
	if d.request.Rate > 0 {
		g.rate = rate.NewLimiter(rate.Limit(d.request.Rate), bufferSize)
	}
	req.RateLimiter = g
	// What grab sends with HEAD it sends with GET too; If-Range without Range
	// means nothing to a server.
	if ok && have > 0 {
		req.HTTPRequest.Header.Set("If-Range", validator)
	}
	// Bytes as they are: a length is needed, and ranges of them.
	req.HTTPRequest.Header.Set("Accept-Encoding", "identity")
	req.BeforeCopy = func(res *grab.Response) error {
		g.unknown = res.Size() <= 0
		return d.begin(res, have)
	}
	client := grab.NewClient()
	client.UserAgent = "castpoint"
	client.HTTPClient = d.request.Client
	if d.request.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = answerTime
		defer transport.CloseIdleConnections()
		client.HTTPClient = &http.Client{Transport: transport}
	}
	res := client.Do(req)
	d.watch(res)
	if err := res.Err(); err != nil {
		return false, d.explain(ctx, res, err)
	}
	// A file that was whole already is not asked for again, only its size is.
	if res.DidResume && validatorOf(res.HTTPResponse) != validator {
		return false, errAgain
	}
	return res.DidResume, d.check(ctx)
}

// roomBytes is how often a download of unknown length asks whether there is room.
const roomBytes = 16 << 20

// gate lets the bytes of a download through, at its rate. One whose length the server
// does not say has to ask for room on its way.
type gate struct {
	rate    *rate.Limiter // nil without a rate
	room    func(n int64) error
	unknown bool // the length
	granted int64
}

// WaitN is called before so many bytes are written.
func (g *gate) WaitN(ctx context.Context, n int) error {
	if g.unknown && g.room != nil {
		if g.granted -= int64(n); g.granted < 0 {
			if err := g.room(roomBytes); err != nil {
				return err
			}
			g.granted += roomBytes
		}
	}
	if g.rate == nil {
		return nil
	}
	return g.rate.WaitN(ctx, n)
}

// begin looks at the server's answer before a byte is written. grab itself takes
// any answer of the 200s for the part that it asked for.
func (d *download) begin(res *grab.Response, have int64) error {
	h := res.HTTPResponse
	if size := res.Size(); d.request.Room != nil && size > 0 {
		if res.DidResume {
			size -= have
		}
		if err := d.request.Room(size); err != nil {
			return err
		}
	}
	if res.DidResume {
		if h.StatusCode != http.StatusPartialContent || !strings.HasPrefix(h.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
			return errAgain
		}
		return nil
	}
	b, err := json.Marshal(state{URL: d.request.URL, Validator: validatorOf(h)})
	if err != nil {
		return err
	}
	return os.WriteFile(d.state, b, 0o600)
}

// validatorOf tells one version of a file from another: a strong ETag (RFC 9110
// section 13.1.5), else the date.
func validatorOf(h *http.Response) string {
	if tag := h.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Header.Get("Last-Modified")
}

// watch reports until the download has ended.
func (d *download) watch(res *grab.Response) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	report := d.request.Progress
	if report == nil {
		report = func(int64, int64) {}
	}
	for {
		report(res.BytesComplete(), res.Size())
		select {
		case <-res.Done:
			report(res.BytesComplete(), res.Size())
			return
		case <-tick.C:
		}
	}
}

func (d *download) explain(ctx context.Context, res *grab.Response, err error) error {
	switch code, isStatus := errors.AsType[grab.StatusCodeError](err); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, grab.ErrBadLength):
		return errAgain // what is there is longer than the file
	case isStatus && int(code) == http.StatusRequestedRangeNotSatisfiable:
		return errAgain
	case isStatus:
		return fmt.Errorf("%w: it answers %d %s", ErrServer, int(code), http.StatusText(int(code)))
	}
	if res.BytesComplete() > 0 && !errors.Is(err, errAgain) {
		return fmt.Errorf("%w (%d bytes are kept: the same command goes on from there)", err, res.BytesComplete())
	}
	return err
}

// check hashes the whole file: a part of an earlier attempt is in it.
func (d *download) check(ctx context.Context) error {
	if d.want == nil {
		return nil
	}
	h := sha256.New()
	if err := hashFile(ctx, h, d.file); err != nil {
		return err
	}
	if got := h.Sum(nil); hex.EncodeToString(got) != hex.EncodeToString(d.want) {
		return errors.Join(fmt.Errorf("%w: it is %x, wanted is %x", ErrChecksum, got, d.want), d.discard())
	}
	return nil
}

func hashFile(ctx context.Context, h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for {
		n, err := f.Read(b)
		_, _ = h.Write(b[:n]) // never fails
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n == 0 && err != nil:
			return endOfFile(err)
		}
	}
}

func endOfFile(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
