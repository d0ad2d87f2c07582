//go:build !windows

package receive

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	"time"

	"github.com/zeebo/blake3"
	"go.uber.org/goleak"

	"castpoint/agent"
	"castpoint/agent/protocol"
	"castpoint/agent/target"
	"castpoint/content"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/multicast/receiver"
	"castpoint/multicast/seal"
	"castpoint/multicast/sender"
	"castpoint/test/joinserver"
	"castpoint/web"
	"castpoint/web/call"
	"castpoint/web/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those of a receive of a new token, with its events in events.
func options(t *testing.T, s *joinserver.Server, events *[]agent.Event) Options {
	t.Helper()
	return Options{
		Server: s.URL, Pin: s.Identity().Pin.String(), Token: s.Token(t), Out: filepath.Join(t.TempDir(), "out.wim"),
		Silence: time.Second, Name: "pc",
		Report: func(e agent.Event) { *events = append(*events, e) },
	}
}

func kinds(events []agent.Event) (out []string) {
	for _, e := range events {
		if e.Kind != agent.EventProgress {
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

func TestReceive(t *testing.T) {
	s := joinserver.New(t, 20*joinserver.BlockSize+77, joinserver.Multicast, nil)
	var events []agent.Event
	o := options(t, s, &events)
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, s.Data)
	if want := (&Result{Out: o.Out, SHA256: s.Content.Files[0].Digest.String(), Size: int64(len(s.Data)), Blocks: 21, Repaired: res.Repaired, Elapsed: res.Elapsed}); *res != *want {
		t.Errorf("%+v", res)
	}
	if k := kinds(events); !slices.Equal(k, []string{agent.EventJoined, agent.EventDone}) {
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
	if len(list) != 1 || len(list[0].Members) != 1 || list[0].Members[0].State != sender.MemberDone || list[0].Members[0].Name != "pc" {
		t.Errorf("%+v", list)
	}

	// The token is used up.
	o.Out += "2"
	_, err = Receive(t.Context(), o)
	if p, ok := errors.AsType[*protocol.Problem](err); !ok || p.Code != protocol.CodeTokenUsed || agent.ExitCode(err) != agent.ExitRefused {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(o.Out)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestResume interrupts a receive, damages a block, and goes on without a token.
func TestResume(t *testing.T) {
	s := joinserver.New(t, 60*joinserver.BlockSize, joinserver.Multicast, func(c *web.Config) { c.Sessions.Rate = 30e6 })
	var events []agent.Event
	o := options(t, s, &events)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Report = func(e agent.Event) {
		if e.Blocks >= 3 {
			cancel()
		}
	}
	_, err := Receive(ctx, o)
	if agent.ExitCode(err) != agent.ExitPartly {
		t.Fatal(err)
	}
	if st, err := os.Stat(target.StatePath(o.Out, false)); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	f, err := os.OpenFile(o.Out+target.PartSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, len(s.Data))
	if _, err := f.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for b := range 60 {
		part := func(d []byte) []byte { return d[b*joinserver.BlockSize : (b+1)*joinserver.BlockSize] }
		if !bytes.Equal(part(whole), part(s.Data)) {
			continue
		}
		if kept++; kept == 1 {
			if _, err := f.WriteAt([]byte("damage"), int64(b)*joinserver.BlockSize+5); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o.Token = ""
	o.Report = func(e agent.Event) { events = append(events, e) }
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if kept < 3 || res.Resumed != kept-1 {
		t.Errorf("%d blocks were there, %d were taken over", kept, res.Resumed)
	}
	inPlace(t, o.Out, s.Data)
	if k := kinds(events); !slices.Equal(k, []string{agent.EventJoined, agent.EventResumed, agent.EventDone}) {
		t.Error(k)
	}
}

func TestUnicastWhenTheGroupCannotBeJoined(t *testing.T) {
	s := joinserver.New(t, 70*joinserver.BlockSize+1, joinserver.Multicast, nil)
	var events []agent.Event
	o := options(t, s, &events)
	o.Interface = "none0"
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, s.Data)
	if k := kinds(events); res.Unicast != 71 || !slices.Equal(k, []string{agent.EventJoined, agent.EventNoDatagrams, agent.EventUnicast, agent.EventDone}) {
		t.Error(res, k)
	}
	o = options(t, s, &events)
	o.Interface, o.NoUnicast, o.Patience = "none0", true, time.Millisecond
	if _, err = Receive(t.Context(), o); err == nil || !strings.Contains(err.Error(), "none0") {
		t.Error(err)
	}
}

// fake is a join listener that admits to a session nobody sends.
func fake(t *testing.T, data []byte, only bool) (*httptest.Server, string) {
	t.Helper()
	sum := sha256.Sum256(data)
	obj := block.Object{SHA256: content.Digest(sum).String(), Size: int64(len(data)), BlockSize: joinserver.BlockSize}
	for b := 0; b < len(data); b += joinserver.BlockSize {
		h := blake3.Sum256(data[b:min(b+joinserver.BlockSize, len(data))])
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
			Objects: []block.Object{obj}, Files: []multicast.File{{Name: "image"}},
			Session: multicast.Params{
				ID: 1, Group: netip.AddrPortFrom(netip.MustParseAddr("239.192.67.250"), port), Feedback: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port),
				Code:          multicast.CodeLeopard8,
				SourceSymbols: 128, RepairSymbols: 64, SymbolSize: 1408, ReportInterval: 20 * time.Millisecond,
			},
			Member: multicast.Member{ID: 1, Key: make([]byte, 32)},
			Keys:   []seal.Key{{Cipher: seal.AES256GCM, Key: make([]byte, 32), Salt: make([]byte, 4)}},
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
	data := make([]byte, 3*joinserver.BlockSize-9)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	srv, pin := fake(t, data, false)
	var events []agent.Event
	o := Options{Server: srv.URL, Pin: pin, Token: "t", Out: filepath.Join(t.TempDir(), "out"), Silence: 300 * time.Millisecond,
		Report: func(e agent.Event) { events = append(events, e) }}
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, o.Out, data)
	if k := kinds(events); res.Unicast != 3 || !slices.Equal(k, []string{agent.EventJoined, agent.EventNoDatagrams, agent.EventUnicast, agent.EventDone}) {
		t.Error(res, k)
	}
	for _, e := range events {
		if e.Kind == agent.EventNoDatagrams {
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
	srv, pin := fake(t, make([]byte, joinserver.BlockSize), true)
	o := Options{Server: srv.URL, Pin: pin, Token: "t", Out: filepath.Join(t.TempDir(), "out"), Silence: 100 * time.Millisecond, Patience: time.Millisecond}
	_, err := Receive(t.Context(), o)
	if !errors.Is(err, receiver.ErrNoDatagrams) || !strings.Contains(err.Error(), "multicast only") || agent.ExitCode(err) != agent.ExitFailed {
		t.Error(err)
	}
}

func TestRefusalsBeforeAnythingIsWritten(t *testing.T) {
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, nil)
	var events []agent.Event
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
		"wrong pin":    {func(o *Options) { o.Pin = wrong }, agent.ExitRefused, []string{wrong, s.Identity().Pin.String()}},
		"no pin":       {func(o *Options) { o.Pin = "" }, agent.ExitUsage, []string{"castpoint serve"}},
		"bad pin":      {func(o *Options) { o.Pin = "sha256:12" }, agent.ExitUsage, []string{"sha256:12"}},
		"no server":    {func(o *Options) { o.Server = "" }, agent.ExitUsage, []string{"castpoint serve"}},
		"plain http":   {func(o *Options) { o.Server = "http://127.0.0.1" }, agent.ExitUsage, []string{"http://127.0.0.1"}},
		"nobody there": {func(o *Options) { o.Server, o.Reach = "127.0.0.1:1", -1 }, agent.ExitFailed, []string{"127.0.0.1:1", "connection refused"}},
		"no token":     {func(o *Options) { o.Token = "" }, agent.ExitUsage, []string{"token create"}},
		"bad token":    {func(o *Options) { o.Token = "00" }, agent.ExitRefused, []string{"token create"}},
		"no content":   {func(o *Options) { o.Content = "nothing" }, agent.ExitNotFound, []string{"nothing"}},
		"no output":    {func(o *Options) { o.Out = "" }, agent.ExitUsage, []string{"--out"}},
		"no folder":    {func(o *Options) { o.Out = filepath.Join(dir, "none", "x") }, agent.ExitUsage, []string{filepath.Join(dir, "none")}},
		"a folder":     {func(o *Options) { o.Out = dir }, agent.ExitUsage, []string{dir}},
		"exists":       {func(o *Options) { o.Out = there }, agent.ExitRefused, []string{there, "--force"}},
		"a terminal":   {func(o *Options) { o.Out = "/dev/null" }, agent.ExitUsage, []string{"/dev/null"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, s, &events)
			o.Out = filepath.Join(dir, "new.wim")
			c.change(&o)
			_, err := Receive(t.Context(), o)
			if agent.ExitCode(err) != c.code {
				t.Errorf("exit code %d of %v, want %d", agent.ExitCode(err), err, c.code)
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
	o := options(t, s, &events)
	o.Out, o.Force = there, true
	if _, err := Receive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	inPlace(t, there, s.Data)
}

// TestServerThatComesLate: nothing listens at first, then the answer to the join is
// lost. The machine asks again, and is one member in the end.
func TestServerThatComesLate(t *testing.T) {
	s := joinserver.New(t, 3*joinserver.BlockSize, joinserver.Multicast, nil)
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

	var events []agent.Event
	o := options(t, s, &events)
	o.Server, o.Pin = "https://"+addr, pin
	var relay net.Listener
	var relays sync.WaitGroup
	o.Report = func(e agent.Event) {
		events = append(events, e)
		if e.Kind == agent.EventAway && relay == nil {
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
	inPlace(t, o.Out, s.Data)
	if k := kinds(events); !slices.Equal(k, []string{agent.EventAway, agent.EventAway, agent.EventJoined, agent.EventDone}) {
		t.Error(k)
	}
	if e := events[0]; !strings.Contains(e.Message, "connection refused") || !strings.Contains(e.Message, "asking again in 500ms") {
		t.Error(e.Message)
	}
	list, err := call.List[session.Info](t.Context(), s.Client(), "/sessions")
	if err != nil {
		t.Fatal(err)
	}
	if joins != 2 || len(list) != 1 || len(list[0].Members) != 1 || list[0].Members[0].State != sender.MemberDone {
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

func TestReceiversOfLoopback(t *testing.T) {
	// What the tests above rely on; when it fails, they fail for this reason.
	ifi, _, err := netio.InterfaceFor(netip.MustParseAddr("127.0.0.1"))
	if err != nil || ifi.Flags&net.FlagLoopback == 0 {
		t.Fatal(ifi, err)
	}
}
