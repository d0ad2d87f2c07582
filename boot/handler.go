package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// HandlerConfig is what [NewHandler] needs.
type HandlerConfig struct {
	// Files is what is served. Required.
	Files *Files
	// Client says what is known of the machine at that address (the one that
	// has the lease, say); nil or an empty Client when nothing is.
	Client func(remote netip.Addr) Client
	// Observe is called once for each request, after its last byte; nil when
	// nobody cares. It must be safe for concurrent use.
	Observe func(Request)
	Log     *zap.Logger
}

// Request is one HTTP boot request that is over.
type Request struct {
	Client   Client
	Remote   netip.AddrPort
	Method   string
	Name     string // as asked
	Status   int
	Bytes    int64 // of body sent
	Duration time.Duration
	Err      error // why the answer is not the file; nil when it is
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
	files   *Files
	client  func(netip.Addr) Client
	observe func(Request)
	log     *zap.Logger
}

// NewHandler checks the configuration.
func NewHandler(cfg HandlerConfig) (*Handler, error) {
	if cfg.Files == nil {
		return nil, errors.New("boot handler: no files given")
	}
	h := &Handler{files: cfg.Files, client: cfg.Client, observe: cfg.Observe, log: cfg.Log}
	if h.client == nil {
		h.client = func(netip.Addr) Client { return Client{} }
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
	out := &countWriter{ResponseWriter: w}
	req := Request{Method: r.Method, Name: r.URL.Path}
	req.Remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	req.Client = h.files.Client(r.URL.Path, h.asker(r, req.Remote))
	req.Err = h.serve(out, r, req.Client)
	req.Status, req.Bytes, req.Duration = out.status, out.bytes, time.Since(start)
	h.log.Debug("boot file by http",
		zap.Stringer("client", req.Client), zap.Stringer("remote", req.Remote), zap.String("method", req.Method),
		zap.String("name", req.Name), zap.Int("status", req.Status), zap.Int64("bytes", req.Bytes),
		zap.Duration("took", req.Duration), zap.Error(req.Err))
	h.observe(req)
}

// asker is what the connection says about the client.
func (h *Handler) asker(r *http.Request, remote netip.AddrPort) Client {
	c := h.client(remote.Addr().Unmap())
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !c.Server.IsValid() {
		if ap, err := netip.ParseAddrPort(local.String()); err == nil {
			c.Server = ap.Addr().Unmap()
		}
	}
	agent := r.UserAgent()
	c.IPXE = c.IPXE || strings.HasPrefix(agent, "iPXE/")
	c.HTTPBoot = c.HTTPBoot || strings.HasPrefix(agent, "UefiHttpBoot/")
	return c
}

func (h *Handler) serve(w *countWriter, r *http.Request, c Client) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return h.fail(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not served here, only GET and HEAD", r.Method))
	}
	f, err := h.files.Open(r.Context(), r.URL.Path, c)
	switch {
	case errors.Is(err, ErrNotFound):
		return h.fail(w, r, http.StatusNotFound, err)
	case errors.Is(err, ErrForbidden):
		return h.fail(w, r, http.StatusForbidden, err)
	case errors.Is(err, context.Canceled):
		return err // the client has gone
	case err != nil:
		h.log.Error("boot file cannot be served", zap.String("name", r.URL.Path), zap.Error(err))
		return h.fail(w, r, http.StatusInternalServerError, err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			h.log.Warn("closing a boot file failed", zap.String("name", f.Name), zap.Error(err))
		}
	}()

	// A client that takes no bytes must not hold its connection for ever; one
	// that takes at least slowest bytes each second may take as long as it needs.
	const slowest = 32 << 10
	deadline := time.Now().Add(time.Minute + time.Duration(f.Size/slowest)*time.Second)
	if err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("limit the time for %s: %w", f.Name, err)
	}
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
	http.ServeContent(w, r, "", modified, body)
	switch {
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
func contentType(f *File) string {
	switch name := strings.ToLower(f.Name); {
	case f.Made, strings.HasSuffix(name, ".ipxe"), strings.HasSuffix(name, ".cfg"):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(name, ".efi"):
		return "application/efi"
	}
	return "application/octet-stream"
}

// countWriter counts the body and keeps the way to sendfile open.
type countWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // first error of writing the body
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

// ReadFrom hands the file to net/http, which hands it to the kernel.
func (w *countWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, src)
	w.count(n, err)
	return n, err
}

func (w *countWriter) count(n int64, err error) {
	w.bytes += n
	if w.err == nil {
		w.err = err
	}
}

// Unwrap is for http.ResponseController.
func (w *countWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// NewHTTPServer is a server for the boot listener with limits that suit
// firmware: slow to ask, long idle between files, few headers. The caller
// serves and shuts it down. A write limit is set by [Handler] for each answer.
func NewHTTPServer(handler http.Handler, log *zap.Logger) *http.Server {
	if log == nil {
		log = zap.NewNop()
	}
	// Firmware that breaks off is no error of ours.
	errorLog, err := zap.NewStdLogAt(log.Named("http"), zap.DebugLevel)
	if err != nil {
		errorLog = zap.NewStdLog(log)
	}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 15 * time.Second,
		ReadTimeout:       30 * time.Second, // of a request; boot requests have no body
		IdleTimeout:       3 * time.Minute,  // a loader unpacks one file before it asks for the next
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          errorLog,
	}
}
