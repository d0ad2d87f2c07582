// Command consolebench measures how long the pages of the console take when there is
// much to show: 10 000 devices and 1 000 000 events. Each page is asked for by the way
// that a browser takes, but for the network: the console, the admin API behind it, and
// the database on the disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/docs"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/web"
	"castpoint/web/access"
	"castpoint/web/console"
)

// bound is what a page may take.
const bound = 200 * time.Millisecond

func main() {
	devices := flag.Int("devices", 10_000, "how many devices")
	events := flag.Int("events", 1_000_000, "how many events")
	times := flag.Int("times", 20, "how often each page is asked for")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *devices, *events, *times)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "consolebench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, devices, events, times int) (err error) {
	dir, err := os.MkdirTemp("", "consolebench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	if err := seed(ctx, dir, devices, events); err != nil {
		return err
	}
	fmt.Printf("%d devices and %d events, made in %.0f s\n\n", devices, events, time.Since(began).Seconds())
	return withConsole(ctx, dir, func(h http.Handler) error { return measure(ctx, h, times) })
}

func mac(i int) string { return fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255) }

// seed makes the records: every fourth device waits, and each has as many events as
// the others.
func seed(ctx context.Context, dir string, devices, events int) error {
	s, err := store.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := deploy.Open(ctx, deploy.Config{Store: s, Unknown: deploy.PolicyApprove, Note: func(event.Event) {}})
	if err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("name,mac,notes,groups\n")
	for i := range devices {
		fmt.Fprintf(&table, "pc-%05d,%s,room %d,room-%d\n", i, mac(i), i/30, i/30)
	}
	_, err = d.ImportCSV(ctx, []byte(table.String()), "consolebench")
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	kinds := event.Kinds()
	first := time.Now().Add(-7 * 24 * time.Hour)
	const batch = 10_000
	for done := 0; done < events; done += batch {
		list := make([]store.Event, 0, batch)
		for i := done; i < min(done+batch, events); i++ {
			list = append(list, store.Event{
				Time: first.Add(time.Duration(i) * 500 * time.Millisecond), MAC: mac(i % devices), Kind: string(kinds[i%len(kinds)]), Trouble: i%50 == 0,
				Message: fmt.Sprintf("DISCOVER of firmware, OFFER: event %d of this machine's timeline", i/devices), Details: `{"interface":"eth1","asked":"DISCOVER","answer":"OFFER","file":"snponly.efi"}`,
			})
		}
		if err := s.AddEvents(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// withConsole opens everything as castpoint serve does.
func withConsole(ctx context.Context, dir string, f func(http.Handler) error) (err error) {
	library, err := content.Open(filepath.Join(dir, "library"))
	if err != nil {
		return err
	}
	defer library.Close()
	s, err := store.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	timeline, err := event.New(event.Config{Store: s})
	if err != nil {
		return err
	}
	defer timeline.Close()
	devices, err := deploy.Open(ctx, deploy.Config{Store: s, Unknown: deploy.PolicyApprove, Note: timeline.Record})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, devices.Close()) }()
	register, err := rollout.Open(ctx, rollout.Config{Store: s, Devices: devices, Data: dir})
	if err != nil {
		return err
	}
	watch, err := monitor.New(monitor.Config{Register: register, Devices: devices})
	if err != nil {
		return err
	}
	defer watch.Close()
	server, err := web.New(web.Config{Data: dir, Library: library, Devices: devices, Timeline: timeline, Rollout: register, Monitor: watch, Version: "bench"})
	if err != nil {
		return err
	}
	defer server.Close()
	c, err := console.New(console.Config{
		API: web.NewConsoleClient(server), Sessions: server.Sessions, Docs: docs.Pages, Version: "bench",
		Person: func(*http.Request) (console.Person, bool) {
			return console.Person{Name: "bench", Operate: true, Admin: true}, true
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

func measure(ctx context.Context, h http.Handler, times int) error {
	ctx = access.With(ctx, access.Identity{Name: "bench", Scope: access.Admin})
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "page\tmedian ms\tslowest ms\tkB")
	var slow []string
	for _, path := range []string{
		"/", "/devices", "/devices?after=1pc-05000+x", "/devices?search=pc-099", "/devices?search=room+7", "/devices?group=room-30", "/devices/pc-00042", "/devices/pc-00042?before=500000",
		"/devices/pc-00042?kind=error", "/devices/52:54:00:ff:ff:ff", "/contents", "/sessions", "/deployments", "/docs/dhcp",
	} {
		var took []time.Duration
		size := 0
		for range times {
			w := httptest.NewRecorder()
			began := time.Now()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx))
			took = append(took, time.Since(began))
			if w.Code != http.StatusOK {
				return fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
			size = w.Body.Len()
		}
		slices.Sort(took)
		median, slowest := took[len(took)/2], took[len(took)-1]
		fmt.Fprintf(out, "%s\t%.1f\t%.1f\t%d\n", path, median.Seconds()*1000, slowest.Seconds()*1000, size/1000)
		if median > bound {
			slow = append(slow, path)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(slow) > 0 {
		return fmt.Errorf("slower than %s: %s", bound, strings.Join(slow, ", "))
	}
	return nil
}
