package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"castpoint/internal/lab"
)

// HTTPPort is that of the boot listener.
const HTTPPort = 8080

// HTTP is a GET of a boot file and how it is carried out.
type HTTP struct {
	// Range is what is asked for, as in bytes=0-99; "" for all.
	Range string
	// Abandon is how many bytes are taken before the client is gone; 0 takes all.
	Abandon int64
	// Limit is the longest time without a byte; 0 is ten seconds.
	Limit time.Duration
	// Rate is how many bytes a second the client takes; 0 is all that comes.
	Rate int64
	// Conn is the connection to use, which is closed then; nil opens one.
	Conn net.Conn
}

// Fetch reads a file from the boot listener.
func (o HTTP) Fetch(ctx context.Context, h *lab.Host, server netip.Addr, name string) (f Fetched, err error) {
	start := time.Now()
	last := start
	defer func() {
		f.Took = time.Since(start)
		if err != nil { // the silence before it as well
			f.Longest = max(f.Longest, time.Since(last))
		}
	}()
	limit := o.Limit
	if limit == 0 {
		limit = 10 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(limit, cancel)
	defer watch.Stop()
	t := &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		if o.Conn != nil {
			return o.Conn, nil
		}
		return Dial(ctx, h, to)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/%s", netip.AddrPortFrom(server, HTTPPort), name), nil)
	if err != nil {
		return f, err
	}
	if o.Range != "" {
		req.Header.Set("Range", o.Range)
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return f, fmt.Errorf("HTTP %s: %w", name, silence(err, watch))
	}
	defer res.Body.Close()
	if want := map[bool]int{false: http.StatusOK, true: http.StatusPartialContent}[o.Range != ""]; res.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		return f, &Stated{By: "HTTP status " + res.Status, Text: strings.TrimSpace(string(text))}
	}
	hash := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			watch.Reset(limit)
			now := time.Now()
			f.Longest = max(f.Longest, now.Sub(last))
			last = now
			f.Bytes += int64(n)
			hash.Write(buf[:n])
			if o.Abandon > 0 && f.Bytes >= o.Abandon {
				f.Abandoned = true
				return f, nil
			}
			if o.Rate > 0 {
				if ahead := time.Duration(float64(f.Bytes)/float64(o.Rate)*float64(time.Second)) - time.Since(start); ahead > 0 {
					time.Sleep(min(ahead, limit/4))
					last = time.Now()
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return f, fmt.Errorf("HTTP %s after %d bytes: %w", name, f.Bytes, silence(err, watch))
		}
	}
	f.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return f, nil
}

// silence is the error of a request that the watch has ended.
func silence(err error, watch *time.Timer) error {
	if errors.Is(err, context.Canceled) && !watch.Stop() {
		return errSilent
	}
	return err
}
