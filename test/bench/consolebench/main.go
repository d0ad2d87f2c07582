// Command consolebench measures how long the pages of the console, and the lists of the
// admin API, take when there is much to show: 10 000 devices, 1 000 000 events, deployments
// for all devices, and a long audit log. Each is asked for by the way that a browser or a
// command takes, but for the network: the console, the admin API, and the database on the
// disk.
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

	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/docs"
	"castpoint/internal/event"
	"castpoint/internal/store"
	"castpoint/web"
	"castpoint/web/access"
	"castpoint/web/api"
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
	return withConsole(ctx, dir, func(pages, api http.Handler) error {
		ctx := access.With(ctx, access.Identity{Name: "bench", Scope: access.Admin})
		return errors.Join(measure(ctx, "page", pages, pagePaths(), times), measure(ctx, "list of the API", api, apiPaths(), times))
	})
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
func withConsole(ctx context.Context, dir string, f func(pages, api http.Handler) error) (err error) {
	library, err := library.Open(filepath.Join(dir, "library"))
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
	people, err := access.Open(ctx, access.Config{Store: s})
	if err != nil {
		return err
	}
	if err := deployToAll(ctx, register, people, devices.Count()); err != nil {
		return err
	}
	server, err := web.New(web.Config{Data: dir, Library: library, Devices: devices, Timeline: timeline, Rollout: register, Monitor: watch, Access: people, Version: "bench"})
	if err != nil {
		return err
	}
	defer server.Close()
	c, err := console.New(console.Config{
		API: server.ConsoleClient(), Sessions: server.Sessions, Docs: docs.Pages, Version: "bench",
		Person: func(*http.Request) (console.Person, bool) {
			return console.Person{Name: "bench", Operate: true, Admin: true}, true
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c, server.SocketServer().Handler)
}

// Numbers of what is made beside devices and events.
const (
	deployments = 10
	auditLines  = 20_000
	tokens      = 500
)

// deployToAll makes a collection of all devices by a rule, deployments for it, and the
// records of who did what.
func deployToAll(ctx context.Context, g *rollout.Register, people *access.Access, count map[deploy.State]int) error {
	all := 0
	for _, n := range count {
		all += n
	}
	c, err := g.Collections.Put(ctx, collection.Collection{Name: "all", Rules: []collection.MemberRule{{Name: "pc-*"}}})
	if err == nil {
		_, err = g.Sequences.Put(ctx, "name: install\nsteps:\n  - run-command: {command: \"true\"}\n", "bench")
	}
	if err != nil {
		return err
	}
	for i := range deployments {
		if _, err := g.PutDeployment(ctx, rollout.Deployment{Name: fmt.Sprintf("wave %d", i), Sequence: "install", Collection: c.ID, Purpose: rollout.Required, MaxSize: all}, nil, all, "bench"); err != nil {
			return err
		}
	}
	for i := range tokens {
		if _, _, err := people.CreateToken(ctx, fmt.Sprintf("program-%03d", i), access.Read, 0, "bench"); err != nil {
			return err
		}
	}
	for i := range auditLines {
		people.Record(ctx, access.Entry{Who: "ann", How: access.HowToken, Action: "set-device", Target: fmt.Sprintf("/devices/pc-%05d", i), Status: http.StatusOK})
	}
	return nil
}

func pagePaths() []string {
	return []string{
		"/", "/devices", "/devices?after=1pc-05000+x", "/devices?search=pc-099", "/devices?search=room+7", "/devices?group=room-30", "/devices/pc-00042", "/devices/pc-00042?before=500000",
		"/devices/pc-00042?kind=error", "/devices/52:54:00:ff:ff:ff", "/contents", "/sessions", "/deployments", "/collections", "/sequences", "/docs/dhcp",
	}
}

// apiPaths are the lists of the API, as they come when nobody says how much is wanted,
// and as long as they may be.
func apiPaths() []string {
	list := []string{
		"/devices", "/devices?limit=10000", "/devices?search=room+7", "/devices?after=1pc-05000+x&limit=1000", "/devices/pc-00042", "/devices/pc-00042/timeline", "/devices/pc-00042/timeline?limit=10000", "/devices/pc-00042/runs",
		"/timeline", "/timeline?limit=10000", "/timeline?before=500000", "/timeline?kind=error", "/collections", "/collections/all/members", "/collections/all/members?limit=100",
		"/deployments", "/deployments/wave%200", "/deployments/wave%200?limit=100", "/deployments/wave%200/report", "/sequences", "/sequence-templates", "/contents", "/sessions",
		"/access/tokens", "/access/users", "/audit", "/audit?limit=10000", "/status", "/openapi.json",
	}
	for i := range list {
		list[i] = api.Prefix + list[i]
	}
	return list
}

func measure(ctx context.Context, what string, h http.Handler, paths []string, times int) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, what+"\tmedian ms\tslowest ms\tkB")
	var slow []string
	for _, path := range paths {
		var took []time.Duration
		size := 0
		for range times {
			w := httptest.NewRecorder()
			began := time.Now()
			r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
			r.Host = "localhost"
			h.ServeHTTP(w, r)
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
