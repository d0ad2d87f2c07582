package httpboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"castpoint/boot"
	"castpoint/boot/bootfile"
	"castpoint/boot/source"
	"castpoint/internal/httpconn"
	"castpoint/internal/netio"
)

// HandlerConfig is what [NewHandler] needs.
type HandlerConfig struct {
	// Files is what is served. Required.
	Files *bootfile.Space
	// Client says what is known of the machine at that address (the one that
	// has the lease, say); nil or an empty Client when nothing is.
	Client func(remote netip.Addr) boot.Client
	// Observe is called once for each request, after its last byte; nil when
	// nobody cares. It must be safe for concurrent use.
	Observe func(Request)
	// Stall is how long a client may take for the next [StallBytes] of an answer
	// before it is cut off; default 30 s, at least 1 s. A client that is steady
	// and slow may take as long as it needs, whatever the file's size.
	Stall time.Duration
	Log   *zap.Logger
}

// StallBytes is how much of an answer a client must take within
// HandlerConfig.Stall: with the default at least 35 kB/s, less than any
// firmware does.
const StallBytes = 1 << 20

// Request is one HTTP boot request that is over.
type Request struct {
	Client   boot.Client
	Remote   netip.AddrPort
	Method   string
	Name     string // as asked
	Status   int
	Bytes    int64 // of body sent
	Duration time.Duration
	Err      error // why the answer is not the file; nil when it is
	// Ordinary is set when the file is not there and a boot that goes well asks
	// for it in vain: nothing to worry about.
	Ordinary bool
}

// Handler serves boot files by HTTP to firmware and boot loaders, which are
// poorer clients than browsers:
//
//   - no redirect, ever: UEFI HTTP boot takes a 301 as the end. So a path with
//     double slashes or a slash at its end is served as it is meant, and Handler
//     must not sit behind http.ServeMux, which redirects such paths;
//   - Content-Length in every answer: without it iPXE crawls;
//   - the connection stays open after an answer: EDK2 fails without;
//   - few headers: shim's parser has had bugs with others.
type Handler struct {
	files   *bootfile.Space
	client  func(netip.Addr) boot.Client
	observe func(Request)
	stall   time.Duration
	log     *zap.Logger
}

// NewHandler checks the configuration.
func NewHandler(cfg HandlerConfig) (*Handler, error) {
	if cfg.Files == nil {
		return nil, errors.New("boot handler: no files given")
	}
	h := &Handler{files: cfg.Files, client: cfg.Client, observe: cfg.Observe, stall: cfg.Stall, log: cfg.Log}
	if h.stall == 0 {
		h.stall = 30 * time.Second
	}
	if h.stall < time.Second {
		return nil, fmt.Errorf("boot handler: stall time %s: want at least 1s", h.stall)
	}
	if h.client == nil {
		h.client = func(netip.Addr) boot.Client { return boot.Client{} }
	}
	if h.observe == nil {
		h.observe = func(Request) {}
	}
	if h.log == nil {
		h.log = zap.NewNop()
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &countWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: h.stall}
	out.hurry()
	req := Request{Method: r.Method, Name: r.URL.Path}
	req.Remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	req.Client = h.files.Client(r.URL.Path, h.asker(r, req.Remote))
	req.Err = h.serve(out, r, req.Client)
	req.Status, req.Bytes, req.Duration = out.status, out.bytes, time.Since(start)
	clean, err := boot.CleanName(r.URL.Path)
	req.Ordinary = err == nil && errors.Is(req.Err, boot.ErrNotFound) && bootfile.Ordinary(clean)
	h.report(req)
	h.observe(req)
}

// report logs a request that is over. A file that is missing is a warning,
// because the machine will most likely stop there, unless every boot asks for it.
func (h *Handler) report(req Request) {
	level := zapcore.DebugLevel
	switch {
	case req.Ordinary && bootfile.RollbackPolicy(req.Name):
		level = zapcore.InfoLevel
	case req.Ordinary:
	case errors.Is(req.Err, boot.ErrNotFound), errors.Is(req.Err, boot.ErrForbidden), errors.Is(req.Err, os.ErrDeadlineExceeded):
		level = zapcore.WarnLevel
	}
	h.log.Log(level, "boot file by http",
		zap.Inline(req.Client), zap.Stringer("peer", req.Remote), zap.String("method", req.Method),
		zap.String("file", req.Name), zap.Int("status", req.Status), zap.Int64("bytes", req.Bytes),
		zap.Duration("took", req.Duration), zap.Error(req.Err))
}

// asker is what the connection says about the client.
func (h *Handler) asker(r *http.Request, remote netip.AddrPort) boot.Client {
	c := h.client(remote.Addr().Unmap())
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !c.Server.IsValid() {
		if ap, err := netip.ParseAddrPort(local.String()); err == nil {
			c.Server = ap.Addr().Unmap()
		}
	}
	if !c.Remote.IsValid() {
		c.Remote = remote.Addr().Unmap()
	}
	agent := r.UserAgent()
	c.IPXE = c.IPXE || strings.HasPrefix(agent, "iPXE/")
	c.HTTPBoot = c.HTTPBoot || strings.HasPrefix(agent, "UefiHttpBoot/")
	return c
}

func (h *Handler) serve(w *countWriter, r *http.Request, c boot.Client) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return h.fail(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not served here, only GET and HEAD", r.Method))
	}
	f, err := h.files.Open(r.Context(), r.URL.Path, c)
	switch {
	case errors.Is(err, boot.ErrNotFound):
		return h.fail(w, r, http.StatusNotFound, err)
	case errors.Is(err, boot.ErrForbidden):
		return h.fail(w, r, http.StatusForbidden, err)
	case errors.Is(err, context.Canceled):
		return err // the client has gone
	case err != nil:
		h.log.Error("boot file cannot be served", zap.String("file", r.URL.Path), zap.Error(err))
		return h.fail(w, r, http.StatusInternalServerError, err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			h.log.Warn("closing a boot file failed", zap.String("file", f.Name), zap.Error(err))
		}
	}()

	w.Header().Set("Content-Type", contentType(f))
	w.Header().Set("ETag", f.ETag)
	modified := f.ModTime
	var body io.ReadSeeker = io.NewSectionReader(f, 0, f.Size)
	if f.Made {
		w.Header().Set("Cache-Control", "no-store")
		modified = time.Time{}
	}
	if f.OS() != nil {
		body = f.OS() // straight from disk to socket
	}
	httpconn.TakePlace(r.Context(), netio.PlaceOf(f.Size))
	http.ServeContent(w, r, "", modified, body)
	if r.Close && w.err == nil && w.control.Flush() == nil {
		w.err = httpconn.Delivered(r.Context(), h.stall) // net/http closes the connection next
	}
	switch {
	case errors.Is(w.err, os.ErrDeadlineExceeded):
		return fmt.Errorf("send %s: the client took less than %d bytes in %s and was cut off after %d: %w",
			f.Name, StallBytes, h.stall, w.bytes, w.err)
	case r.Context().Err() != nil:
		return fmt.Errorf("send %s: the client went away after %d bytes", f.Name, w.bytes)
	case w.status == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("send %s: range %q is not within its %d bytes", f.Name, r.Header.Get("Range"), f.Size)
	}
	return w.err
}

// fail answers with a text a technician can read on the client's screen or
// with curl.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, status int, err error) error {
	text := "castpoint: " + err.Error() + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// The client may be gone; what it should have been told is in err.
		_, _ = io.WriteString(w, text)
	}
	return err
}

// contentType matters to UEFI HTTP boot, which goes by it before it goes by
// the name's ending.
func contentType(f *source.File) string {
	switch name := strings.ToLower(f.Name); {
	case f.Text, strings.HasSuffix(name, ".ipxe"), strings.HasSuffix(name, ".cfg"):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(name, ".efi"):
		return "application/efi"
	}
	return "application/octet-stream"
}

// countWriter counts the body, cuts off clients that take too little of it, and
// keeps the way to sendfile open.
type countWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
	bytes   int64
	err     error // first error of writing the body
}

// hurry begins a new stall time. A writer that knows no deadlines (a test's)
// has none.
func (w *countWriter) hurry() {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.stall)); err != nil && w.err == nil && !errors.Is(err, http.ErrNotSupported) {
		w.err = err
	}
}

func (w *countWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.count(int64(n), err)
	return n, err
}

// ReadFrom hands the file to net/http, which hands it to the kernel, StallBytes
// at a time. net/http knows a file, and a file in one io.LimitedReader, so the
// one that ServeContent gives is opened and a smaller one made.
func (w *countWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	var total int64
	for limited.N > 0 {
		w.hurry()
		want := min(limited.N, StallBytes)
		n, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: limited.R, N: want})
		w.count(n, err)
		total += n
		limited.N -= n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

func (w *countWriter) count(n int64, err error) {
	w.bytes += n
	if w.err == nil {
		w.err = err
	}
}

// Unwrap is for http.ResponseController.
func (w *countWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
