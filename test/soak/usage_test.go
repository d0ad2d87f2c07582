package main

import (
	"context"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// here reads what this process holds, by the same way as that of a server.
func here(t *testing.T) func() usage {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	t.Cleanup(s.Close)
	return func() usage {
		t.Helper()
		for range restCycles {
			runtime.GC()
		}
		u, err := readUsage(t.Context(), s.Client(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
}

// Every kind of leak is found, and named, when one is planted; and none when there is
// none.
func TestGrowthFindsWhatLeaks(t *testing.T) {
	var files []*os.File
	var kept [][]byte
	stop := make(chan struct{})
	defer close(stop)
	for _, c := range []struct {
		name  string
		plant func()
		want  string // "" for nothing
	}{
		{"nothing", func() {}, ""},
		{"garbage", func() {
			for range 100 {
				_ = make([]byte, 1<<20)
			}
		}, ""},
		{"goroutines", func() {
			for range moreGoroutines + 3 {
				go func() { <-stop }()
			}
		}, "goroutines"},
		{"files", func() {
			for range moreFiles + 3 {
				f, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
		}, "file descriptors"},
		{"heap", func() {
			for range 40 {
				b := make([]byte, 1<<20)
				kept = append(kept, b)
			}
		}, "bytes of heap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := here(t)
			read() // connects
			base := read()
			c.plant()
			grown := strings.Join(read().growth(base), "\n")
			if c.want == "" && grown != "" || !strings.Contains(grown, c.want) {
				t.Errorf("found %q, want %q", grown, c.want)
			}
		})
	}
	for _, f := range files {
		f.Close()
	}
	runtime.KeepAlive(kept)
}

// A metric that is not there is no zero.
func TestMissingMetric(t *testing.T) {
	if _, err := parseUsage(strings.NewReader("go_goroutines 12\n")); err == nil || !strings.Contains(err.Error(), "process_open_fds") {
		t.Errorf("got %v", err)
	}
}

// Rest is when sessions have ended and numbers fall no more; what does not come to
// rest is told as it is.
func TestRestWaitsForSessions(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	u, err := rest(ctx, func(context.Context) (usage, error) {
		reads++
		if reads == 5 {
			cancel()
		}
		return usage{Goroutines: float64(20 - reads), Sessions: 1, Collected: float64(reads)}, nil
	})
	if err != nil || u.Goroutines != 15 || u.Sessions != 1 {
		t.Errorf("got %+v, %v", u, err)
	}
}
