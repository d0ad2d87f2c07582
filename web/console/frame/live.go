package frame

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// eventOver tells the script that a page stays as it is now.
const eventOver = "over"

// aliveTime is how often a stream on which nothing happens shows that it lives.
const aliveTime = 15 * time.Second

// watch draws a page again and again and sends it when it differs from what was
// sent last, as server-sent events. However much happens, a browser gets one
// event in each interval.
func (f *Frame) watch(w http.ResponseWriter, r *http.Request, show func(*http.Request) (*Page, error)) {
	select {
	case f.watchers <- struct{}{}:
		defer func() { <-f.watchers }()
	default:
		http.Error(w, "too many pages are being watched", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	flush := http.NewResponseController(w)
	_ = flush.SetReadDeadline(time.Time{}) // that of the request would end the stream
	_ = flush.SetWriteDeadline(time.Time{})
	var last []byte
	quiet := time.Now()
	for first := true; ; first = false {
		p, err := show(r)
		var v *View
		ok := true
		if err == nil {
			v, ok = f.view(r, p)
		}
		if err != nil || !ok || first && p.Live == 0 {
			if first {
				http.Error(w, "this page is not live", http.StatusNoContent)
			}
			return // the browser asks again, and is told why
		}
		var b bytes.Buffer
		if err := f.bodies[p.Body].inner(&b, v); err != nil {
			f.log.Error("page not drawn", zap.String("path", r.URL.Path), zap.Error(err))
			return
		}
		if first {
			h.Set("Content-Type", "text/event-stream")
			h.Set("Cache-Control", "no-store")
		}
		switch {
		case !bytes.Equal(b.Bytes(), last):
			last, quiet = b.Bytes(), time.Now()
			err = writeEvent(w, b.String())
		case time.Since(quiet) >= aliveTime:
			quiet = time.Now()
			_, err = w.Write([]byte(":\n\n"))
		}
		if err == nil && p.Live == 0 { // what it showed has come to its end
			_, err = w.Write([]byte("event: " + eventOver + "\ndata:\n\n"))
		}
		if err != nil || flush.Flush() != nil || p.Live == 0 {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-f.ctx.Done():
			return
		case <-time.After(p.Live):
		}
	}
}

// writeEvent writes one event; each line of the data is one of the stream.
func writeEvent(w http.ResponseWriter, data string) error {
	_, err := w.Write([]byte("data: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n"))
	return err
}
