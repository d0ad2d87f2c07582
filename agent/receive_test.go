//go:build !windows

package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeebo/blake3"
	"go.uber.org/goleak"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/event"
	"castpoint/internal/netio"
	"castpoint/internal/store"
	"castpoint/multicast"
	"castpoint/web"
	"castpoint/web/admin"
	"castpoint/web/call"
	"castpoint/web/join"
	"castpoint/web/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const blockSize = content.BlockSize

// server is the real server side, with one content called image.
type server struct {
	*web.Server
	ct   *content.Content
	data []byte
	url  string
	cfg  web.Config
}

func newServer(t *testing.T, size int, d content.Distribution, change func(*web.Config)) *server {
	t.Helper()
	lib, err := library.OpenOptions(filepath.Join(t.TempDir(), "library"), library.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	src := filepath.Join(t.TempDir(), "src")
	if err := errors.Join(os.Mkdir(src, 0o755), os.WriteFile(filepath.Join(src, "image.wim"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: src, Name: "image", Distribution: d})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := web.Config{
		Data: t.TempDir(), Library: lib, JoinURL: "https://" + l.Addr().String(),
		Sessions: &session.Config{Interface: "lo", Address: netip.MustParseAddr("127.0.0.1"), Rate: 400e6, Linger: time.Second},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := s.JoinServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(tls.NewListener(l, s.Identity().TLS())) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
		s.Close()
	})
	return &server{s, ct, data, cfg.JoinURL, cfg}
}

func (s *server) token(t *testing.T) string {
	t.Helper()
	var k admin.CreatedToken
	if err := s.Client().Call(t.Context(), http.MethodPost, "/tokens", admin.CreateToken{Content: "image"}, &k); err != nil {
		t.Fatal(err)
	}
	return k.Token
}

// options are those of a receive of a new token, with its events in events.
func (s *server) options(t *testing.T, events *[]Event) Options {
	t.Helper()
	return Options{
		Server: s.url, Pin: s.Identity().Pin.String(), Token: s.token(t), Out: filepath.Join(t.TempDir(), "out.wim"),
		Silence: time.Second, Name: "pc",
		Report: func(e Event) { *events = append(*events, e) },
	}
}

func kinds(events []Event) (out []string) {
	for _, e := range events {
		if e.Kind != EventProgress {
			out = append(out, e.Kind)
		}
	}
	return out
}

// inPlace says that the object is there and nothing else.
func inPlace(t *testing.T, out string, data []byte) {
	t.Helper()
	b, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes of %d, %v", len(b), len(data), err)
	}
	entries, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

var free = content.Distribution{Multicast: true}

func TestReceive(t *testing.T) {
	s := newServer(t, 20*blockSize+77, free, nil)
	var events []Event
	o := s.options(t, &events)
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, s.data)
	if want := (&Result{Out: o.Out, SHA256: s.ct.Files[0].Digest.String(), Size: int64(len(s.data)), Blocks: 21, Repaired: res.Repaired, Elapsed: res.Elapsed}); *res != *want {
		t.Errorf("%+v", res)
	}
	if k := kinds(events); !slices.Equal(k, []string{EventJoined, EventDone}) {
		t.Error(k)
	}
	if last := events[len(events)-1]; last.Blocks != 21 || last.Bytes != last.Size || last.Rate <= 0 {
		t.Errorf("%+v", last)
	}
	// The server knows that it is done.
	list, err := call.List[session.Info](t.Context(), s.Client(), "/sessions")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || len(list[0].Members) != 1 || list[0].Members[0].State != multicast.MemberDone || list[0].Members[0].Name != "pc" {
		t.Errorf("%+v", list)
	}

	// The token is used up.
	o.Out += "2"
	_, err = Receive(t.Context(), o)
	if p, ok := errors.AsType[*protocol.Problem](err); !ok || p.Code != protocol.CodeTokenUsed || ExitCode(err) != ExitRefused {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(o.Out)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestResume interrupts a receive, damages a block, and goes on without a token.
func TestResume(t *testing.T) {
	s := newServer(t, 60*blockSize, free, func(c *web.Config) { c.Sessions.Rate = 30e6 })
	var events []Event
	o := s.options(t, &events)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Report = func(e Event) {
		if e.Blocks >= 3 {
			cancel()
		}
	}
	_, err := Receive(ctx, o)
	if ExitCode(err) != ExitPartly {
		t.Fatal(err)
	}
	if st, err := os.Stat(o.Out + suffixState); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	f, err := os.OpenFile(o.Out+suffixPart, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, len(s.data))
	if _, err := f.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for b := range 60 {
		part := func(d []byte) []byte { return d[b*blockSize : (b+1)*blockSize] }
		if !bytes.Equal(part(whole), part(s.data)) {
			continue
		}
		if kept++; kept == 1 {
			if _, err := f.WriteAt([]byte("damage"), int64(b)*blockSize+5); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o.Token = ""
	o.Report = func(e Event) { events = append(events, e) }
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if kept < 3 || res.Resumed != kept-1 {
		t.Errorf("%d blocks were there, %d were taken over", kept, res.Resumed)
	}
	inPlace(t, o.Out, s.data)
	if k := kinds(events); !slices.Equal(k, []string{EventJoined, EventResumed, EventDone}) {
		t.Error(k)
	}
}

func TestUnicastWhenTheGroupCannotBeJoined(t *testing.T) {
	s := newServer(t, 70*blockSize+1, free, nil)
	var events []Event
	o := s.options(t, &events)
	o.Interface = "none0"
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, s.data)
	if k := kinds(events); res.Unicast != 71 || !slices.Equal(k, []string{EventJoined, EventNoDatagrams, EventUnicast, EventDone}) {
		t.Error(res, k)
	}
	o = s.options(t, &events)
	o.Interface, o.NoUnicast, o.Patience = "none0", true, time.Millisecond
	if _, err = Receive(t.Context(), o); err == nil || !strings.Contains(err.Error(), "none0") {
		t.Error(err)
	}
}

// fake is a join listener that admits to a session nobody sends.
func fake(t *testing.T, data []byte, only bool) (*httptest.Server, string) {
	t.Helper()
	sum := sha256.Sum256(data)
	obj := multicast.Object{SHA256: content.Digest(sum).String(), Size: int64(len(data)), BlockSize: blockSize}
	for b := 0; b < len(data); b += blockSize {
		h := blake3.Sum256(data[b:min(b+blockSize, len(data))])
		obj.Hashes = append(obj.Hashes, h[:]...)
	}
	feedback, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = feedback.Close() })
	port := feedback.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+protocol.PathPolicy, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(protocol.Policy{Action: protocol.ActionReceive, Size: obj.Size})
	})
	mux.HandleFunc("POST "+multicast.PathJoin, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(multicast.Admission{
			Ticket: "ticket", MulticastOnly: only,
			Objects: []multicast.Object{obj}, Files: []multicast.File{{Name: "image"}},
			Session: multicast.Params{
				ID: 1, Group: netip.AddrPortFrom(netip.MustParseAddr("239.192.67.250"), port), Feedback: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port),
				Code:          multicast.CodeLeopard8,
				SourceSymbols: 128, RepairSymbols: 64, SymbolSize: 1408, ReportInterval: 20 * time.Millisecond,
			},
			Member: multicast.Member{ID: 1, Key: make([]byte, 32)},
			Keys:   []multicast.Key{{Cipher: multicast.CipherAES256GCM, Key: make([]byte, 32), Salt: make([]byte, 4)}},
		})
	})
	mux.HandleFunc("POST "+multicast.PathLeave, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET "+multicast.PathObject+"{digest}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	return srv, protocol.NewPin(srv.Certificate().Raw).String()
}

func TestSilenceIsExplainedAndUnicastTakesOver(t *testing.T) {
	data := make([]byte, 3*blockSize-9)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	srv, pin := fake(t, data, false)
	var events []Event
	o := Options{Server: srv.URL, Pin: pin, Token: "t", Out: filepath.Join(t.TempDir(), "out"), Silence: 300 * time.Millisecond,
		Report: func(e Event) { events = append(events, e) }}
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, data)
	if k := kinds(events); res.Unicast != 3 || !slices.Equal(k, []string{EventJoined, EventNoDatagrams, EventUnicast, EventDone}) {
		t.Error(res, k)
	}
	for _, e := range events {
		if e.Kind == EventNoDatagrams {
			text := strings.Join(e.Advice, "\n")
			for _, part := range []string{"on interface lo (127.0.0.1)", "239.192.67.250 port", "IGMP snooping"} {
				if !strings.Contains(text, part) {
					t.Errorf("the advice does not say %q: %s", part, text)
				}
			}
		}
	}
}

func TestMulticastOnlyStaysSilent(t *testing.T) {
	srv, pin := fake(t, make([]byte, blockSize), true)
	o := Options{Server: srv.URL, Pin: pin, Token: "t", Out: filepath.Join(t.TempDir(), "out"), Silence: 100 * time.Millisecond, Patience: time.Millisecond}
	_, err := Receive(t.Context(), o)
	if !errors.Is(err, multicast.ErrNoDatagrams) || !strings.Contains(err.Error(), "multicast only") || ExitCode(err) != ExitFailed {
		t.Error(err)
	}
}

func TestRefusalsBeforeAnythingIsWritten(t *testing.T) {
	s := newServer(t, blockSize, free, nil)
	var events []Event
	dir := t.TempDir()
	there := filepath.Join(dir, "there.wim")
	if err := os.WriteFile(there, []byte("keep me"), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong := protocol.NewPin([]byte("somebody else")).String()
	for name, c := range map[string]struct {
		change func(*Options)
		code   int
		parts  []string
	}{
		"wrong pin":    {func(o *Options) { o.Pin = wrong }, ExitRefused, []string{wrong, s.Identity().Pin.String()}},
		"no pin":       {func(o *Options) { o.Pin = "" }, ExitUsage, []string{"castpoint serve"}},
		"bad pin":      {func(o *Options) { o.Pin = "sha256:12" }, ExitUsage, []string{"sha256:12"}},
		"no server":    {func(o *Options) { o.Server = "" }, ExitUsage, []string{"castpoint serve"}},
		"plain http":   {func(o *Options) { o.Server = "http://127.0.0.1" }, ExitUsage, []string{"http://127.0.0.1"}},
		"nobody there": {func(o *Options) { o.Server, o.Reach = "127.0.0.1:1", -1 }, ExitFailed, []string{"127.0.0.1:1", "connection refused"}},
		"no token":     {func(o *Options) { o.Token = "" }, ExitUsage, []string{"token create"}},
		"bad token":    {func(o *Options) { o.Token = "00" }, ExitRefused, []string{"token create"}},
		"no content":   {func(o *Options) { o.Content = "nothing" }, ExitNotFound, []string{"nothing"}},
		"no output":    {func(o *Options) { o.Out = "" }, ExitUsage, []string{"--out"}},
		"no folder":    {func(o *Options) { o.Out = filepath.Join(dir, "none", "x") }, ExitUsage, []string{filepath.Join(dir, "none")}},
		"a folder":     {func(o *Options) { o.Out = dir }, ExitUsage, []string{dir}},
		"exists":       {func(o *Options) { o.Out = there }, ExitRefused, []string{there, "--force"}},
		"a terminal":   {func(o *Options) { o.Out = "/dev/null" }, ExitUsage, []string{"/dev/null"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options(t, &events)
			o.Out = filepath.Join(dir, "new.wim")
			c.change(&o)
			_, err := Receive(t.Context(), o)
			if ExitCode(err) != c.code {
				t.Errorf("exit code %d of %v, want %d", ExitCode(err), err, c.code)
			}
			for _, part := range c.parts {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
	o := s.options(t, &events)
	o.Out, o.Force = there, true
	if _, err := Receive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	inPlace(t, there, s.data)
}

// TestServerThatComesLate: nothing listens at first, then the answer to the join is
// lost. The machine asks again, and is one member in the end.
func TestServerThatComesLate(t *testing.T) {
	s := newServer(t, 3*blockSize, free, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	joins := 0
	late := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == multicast.PathJoin {
			if joins++; joins == 1 {
				lost := httptest.NewRecorder()
				if s.JoinHandler().ServeHTTP(lost, r); lost.Code != http.StatusOK {
					t.Errorf("first join: %d %s", lost.Code, lost.Body)
				}
				panic(http.ErrAbortHandler)
			}
		}
		s.JoinHandler().ServeHTTP(w, r)
	}))
	late.Config.ErrorLog = log.New(io.Discard, "", 0)
	late.StartTLS()
	pin := protocol.NewPin(late.Certificate().Raw).String()
	defer late.Close()

	var events []Event
	o := s.options(t, &events)
	o.Server, o.Pin = "https://"+addr, pin
	var relay net.Listener
	var relays sync.WaitGroup
	o.Report = func(e Event) {
		events = append(events, e)
		if e.Kind == EventAway && relay == nil {
			var err error
			if relay, err = net.Listen("tcp", addr); err != nil {
				t.Error(err)
				return
			}
			relays.Go(func() { forward(relay, late.Listener.Addr().String()) })
		}
	}
	if _, err := Receive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	_ = relay.Close()
	late.CloseClientConnections()
	relays.Wait()
	inPlace(t, o.Out, s.data)
	if k := kinds(events); !slices.Equal(k, []string{EventAway, EventAway, EventJoined, EventDone}) {
		t.Error(k)
	}
	if e := events[0]; !strings.Contains(e.Message, "connection refused") || !strings.Contains(e.Message, "asking again in 500ms") {
		t.Error(e.Message)
	}
	list, err := call.List[session.Info](t.Context(), s.Client(), "/sessions")
	if err != nil {
		t.Fatal(err)
	}
	if joins != 2 || len(list) != 1 || len(list[0].Members) != 1 || list[0].Members[0].State != multicast.MemberDone {
		t.Errorf("%d joins, %+v", joins, list)
	}
}

// forward copies what comes to a listener to an address and back, until it is closed.
func forward(l net.Listener, to string) {
	var copies sync.WaitGroup
	defer copies.Wait()
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			return
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			copies.Go(func() {
				_, _ = io.Copy(pair[1], pair[0])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

// TestServerThatDoesNotCome: the time is kept, and named.
func TestServerThatDoesNotCome(t *testing.T) {
	silent := &reachError{errors.New("reach it: no route to host")}
	synctest.Test(t, func(t *testing.T) {
		began, asked, pauses := time.Now(), 0, []time.Duration(nil)
		err := reached(t.Context(), 20*time.Second, func(_ error, pause time.Duration) { pauses = append(pauses, pause) }, func() error {
			asked++
			time.Sleep(3 * time.Second) // as long as Linux asks for a hardware address
			return silent
		})
		if took := time.Since(began); took != 22500*time.Millisecond { // the last time is asked after 19.5 s
			t.Errorf("took %s", took)
		}
		if err == nil || !errors.Is(err, silent) || !strings.Contains(err.Error(), "asked for 23s") {
			t.Error(err)
		}
		if asked != 5 || len(pauses) != 4 || pauses[0] != askPause || pauses[3] != 4*time.Second {
			t.Error(asked, pauses)
		}
	})
	for _, err := range []error{nil, errors.New("another"), &protocol.Problem{Status: http.StatusForbidden}, &reachError{tls.RecordHeaderError{}}} {
		asked := 0
		got := reached(t.Context(), time.Hour, func(error, time.Duration) {}, func() error { asked++; return err })
		if got != err || asked != 1 { //nolint:errorlint // it is handed through
			t.Errorf("%v: asked %d times, %v", err, asked, got)
		}
	}
	if got := reached(t.Context(), -1, nil, func() error { return silent }); !errors.Is(got, silent) {
		t.Error(got)
	}
}

func TestFullDiskCostsNothing(t *testing.T) {
	// A petabyte fits nowhere.
	srv, pin := fake(t, make([]byte, 100), false)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+protocol.PathPolicy, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(protocol.Policy{Action: protocol.ActionReceive, Size: 1e15})
	})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { t.Error("asked for more than the size") })
	srv.Config.Handler = mux
	dir := t.TempDir()
	_, err := Receive(t.Context(), Options{Server: srv.URL, Pin: pin, Token: "t", Out: filepath.Join(dir, "out")})
	if err == nil || !strings.Contains(err.Error(), "needs 1 PB") || !strings.Contains(err.Error(), "free") {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTwoReceiversDoNotShareAFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	first, err := openTarget(out, false)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := openTarget(out, false); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	s := newServer(t, 3*blockSize, free, nil)
	mac := []byte{0x52, 0x54, 0, 0xaa, 0, 1}
	cfg := s.cfg
	s.Close()
	cfg.Assign = join.Assignment{Content: "image", After: protocol.AfterWait}
	cfg.Timeline = timeline(t)
	next := serve(t, cfg)
	ticket, err := next.BootToken(t.Context(), bootClient(mac))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := ParseCmdline("quiet castpoint.server=https://" + next.addr + " castpoint.pin=" + ticket.Pin + " castpoint.token=" + ticket.Token + " castpoint.mac=52:54:00:aa:00:01")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var said []string
	o := RunOptions{Boot: boot, Folder: dir, AfterFile: filepath.Join(dir, "castpoint", "after"), Say: func(s string) { said = append(said, s) }}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "image.wim")); err != nil || !bytes.Equal(b, s.data) {
		t.Error(len(b), err)
	}
	if b, err := os.ReadFile(o.AfterFile); err != nil || string(b) != "stay\n" {
		t.Errorf("%q, %v", b, err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "receives image") {
		t.Error(said)
	}
	if err := cfg.Timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := cfg.Timeline.Query(t.Context(), event.Filter{MACs: []string{"52:54:00:aa:00:01"}}, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reported []string
	for _, e := range p.Events {
		reported = append(reported, e.Message)
	}
	text := strings.Join(reported, "\n")
	if !strings.Contains(text, EventJoined) || !strings.HasPrefix(reported[len(reported)-1], EventDone) {
		t.Error(text)
	}
}

// timeline keeps what machines report.
func timeline(t *testing.T) *event.Recorder {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := event.New(event.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		_ = s.Close()
	})
	return r
}

func TestRunWaits(t *testing.T) {
	s := newServer(t, blockSize, free, nil)
	ticket, err := s.BootToken(t.Context(), bootClient([]byte{0x52, 0x54, 0, 0xaa, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := ""
	err = Run(ctx, RunOptions{
		Boot: Boot{Server: s.url, Pin: ticket.Pin, Token: ticket.Token},
		Say:  func(text string) { said = text; cancel() },
	})
	if err == nil || !strings.Contains(said, "nothing is assigned") {
		t.Error(said, err)
	}
}

func TestReceiversOfLoopback(t *testing.T) {
	// What the tests above rely on; when it fails, they fail for this reason.
	ifi, _, err := netio.InterfaceFor(netip.MustParseAddr("127.0.0.1"))
	if err != nil || ifi.Flags&net.FlagLoopback == 0 {
		t.Fatal(ifi, err)
	}
}
