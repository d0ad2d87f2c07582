package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"castpoint/agent/protocol"
	"castpoint/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "correct horse battery"

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("2001:db8::1")
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// reopen opens what a folder has, as after a restart.
func reopen(t *testing.T, dir string, c *clock) *Access {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a, err := Open(t.Context(), Config{Store: s, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	a.cost = cost{1, 64} // the real cost is paid by TestHash
	return a
}

func TestHash(t *testing.T) {
	a, _, _ := open(t)
	a.cost = cost{hashTime, hashMemory}
	phc, err := a.hashPassword(t.Context(), password)
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Fatal(phc, err)
	}
	for text, want := range map[string]bool{password: true, password + " ": false, "": false} {
		if ok, err := a.matches(t.Context(), phc, text); ok != want || err != nil {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
	}
	if again, err := a.hashPassword(t.Context(), password); err != nil || again == phc {
		t.Errorf("two users with one password have one hash: %v", err)
	}
	for _, damaged := range []string{"", "plain", "$argon2id$v=19$m=1,t=1,p=1$!$!", "$argon2i$v=19$m=1,t=1,p=1$AA$AA", "$argon2id$v=1$m=1,t=1,p=1$AA$AA"} {
		if ok, err := a.matches(t.Context(), damaged, password); ok || err == nil {
			t.Errorf("%q was taken", damaged)
		}
	}
}

func open(t *testing.T) (*Access, *clock, string) {
	dir, c := t.TempDir(), &clock{time.Now()}
	return reopen(t, dir, c), c, dir
}

func TestScopes(t *testing.T) {
	for i, have := range Scopes() {
		for j, need := range Scopes() {
			if have.Allows(need) != (i >= j) {
				t.Errorf("%s for %s", have, need)
			}
		}
	}
	if Scope("").Allows(Read) || Scope("x").Allows("y") {
		t.Error("what is no scope allows something")
	}
}

func TestTokens(t *testing.T) {
	a, c, dir := open(t)
	secret, made, err := a.CreateToken(t.Context(), "prometheus", Read, time.Hour, "root")
	if err != nil || !strings.HasPrefix(secret, secretPrefix) {
		t.Fatal(secret, err)
	}
	for name, wrong := range map[string]func() error{
		"name twice": func() error { _, _, err := a.CreateToken(t.Context(), "Prometheus", Read, 0, ""); return err },
		"no name":    func() error { _, _, err := a.CreateToken(t.Context(), "", Read, 0, ""); return err },
		"bell":       func() error { _, _, err := a.CreateToken(t.Context(), "a\ab", Read, 0, ""); return err },
		"scope":      func() error { _, _, err := a.CreateToken(t.Context(), "x", "all", 0, ""); return err },
		"ttl":        func() error { _, _, err := a.CreateToken(t.Context(), "x", Read, -time.Hour, ""); return err },
	} {
		if err := wrong(); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := reopen(t, dir, c)
	id, _, ok := b.byToken(t.Context(), secret, here)
	if !ok || id.Name != "prometheus" || id.Scope != Read || id.How != HowToken || id.Remote != here {
		t.Errorf("%+v %v", id, ok)
	}
	if got := b.Tokens(); len(got) != 1 || got[0].ID != made.ID || got[0].LastUsed.IsZero() || got[0].By != "root" {
		t.Errorf("%+v", got)
	}
	if _, _, ok := b.byToken(t.Context(), secret+"x", here); ok {
		t.Error("a wrong secret was taken")
	}
	c.at = c.at.Add(2 * time.Hour)
	if _, _, ok := b.byToken(t.Context(), secret, here); ok {
		t.Error("an expired token was taken")
	}
	if _, err := b.RevokeToken(t.Context(), made.ID); err != nil || len(b.Tokens()) != 0 {
		t.Error(err)
	}
	if _, err := b.RevokeToken(t.Context(), made.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := reopen(t, dir, c).Tokens(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestUsersAndSessions(t *testing.T) {
	a, c, dir := open(t)
	if _, err := a.AddUser(t.Context(), "Ann", password, Operate); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddUser(t.Context(), "ann", password, Operate); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if _, err := a.AddUser(t.Context(), "bob", "short", Operate); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	a = reopen(t, dir, c)
	s, err := a.Login(t.Context(), "ANN", password, here)
	if err != nil || s.Name != "Ann" || s.Scope != Operate || s.CSRF == "" {
		t.Fatalf("%+v %v", s, err)
	}
	for name, password := range map[string]string{"Ann": "wrong", "nobody": password} {
		if _, err := a.Login(t.Context(), name, password, here); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a = reopen(t, dir, c)
	id, l, ok := a.bySession(t.Context(), s.Secret, there)
	if !ok || id.Name != "Ann" || id.CSRF != s.CSRF || id.Remote != there {
		t.Fatalf("%+v %v", id, ok)
	}
	c.at = c.at.Add(sessionIdle - time.Minute)
	if _, _, ok := a.bySession(t.Context(), s.Secret, there); !ok {
		t.Error("a session in use has ended")
	}
	if _, err := a.ChangeUser(t.Context(), "ann", "", Admin); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.ctx.Done():
	default:
		t.Error("a session outlives the scope it was made with")
	}
	if s, err = a.Login(t.Context(), "ann", password, here); err != nil || s.Scope != Admin {
		t.Fatal(s, err)
	}
	c.at = c.at.Add(sessionIdle + time.Minute)
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("a session that was not used goes on")
	}
	if s, err = a.Login(t.Context(), "ann", password, here); err != nil {
		t.Fatal(err)
	}
	if err := a.Logout(t.Context(), s.Secret); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("a session goes on after the logout")
	}
	// Also one that is used all the time ends.
	if s, err = a.Login(t.Context(), "ann", password, here); err != nil {
		t.Fatal(err)
	}
	for range 14 {
		c.at = c.at.Add(sessionIdle - time.Minute)
		if _, _, ok := a.bySession(t.Context(), s.Secret, here); !ok {
			t.Fatal("a session in use has ended")
		}
	}
	c.at = c.at.Add(sessionIdle - time.Minute)
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("a session goes on for more than its whole time")
	}
	if s, err = a.Login(t.Context(), "ann", password, here); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := a.bySession(t.Context(), s.Secret, here); ok {
		t.Error("a session goes on after its user was removed")
	}
	if _, err := a.Login(t.Context(), "ann", password, here); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

// Many logins at once are no more tries than as many one after the other.
func TestLoginsAtOnce(t *testing.T) {
	a, _, _ := open(t)
	a.cost = cost{1, 4 << 10}
	if _, err := a.AddUser(t.Context(), "ann", password, Admin); err != nil {
		t.Fatal(err)
	}
	var denied, locked atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			_, err := a.Login(t.Context(), "ann", fmt.Sprint("wrong password ", i), here)
			if _, ok := errors.AsType[*LockedError](err); ok {
				locked.Add(1)
			} else if errors.Is(err, ErrDenied) {
				denied.Add(1)
			} else {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := denied.Load(); n < freeFailures || n >= freeFailures+hashesAtOnce || n+locked.Load() != 60 {
		t.Errorf("%d passwords were looked at, %d were not", n, locked.Load())
	}
}

// Who has shown nothing and sends a body that never ends is not waited for.
func TestStrangersBodyIsNotWaitedFor(t *testing.T) {
	a, _, _ := open(t)
	g := &Guard{Access: a, BodyTime: 50 * time.Millisecond, Refuse: func(w http.ResponseWriter, _ *http.Request, p *protocol.Problem) { w.WriteHeader(p.Status) }}
	mux := http.NewServeMux()
	a.HandleLogin(mux, nil)
	s := httptest.NewServer(g.Require(mux))
	defer s.Close()
	for _, request := range []string{
		"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nuser=ann",
		"POST /logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
		"POST /login HTTP/1.1\r\nHost: elsewhere.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
	} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%.20q: the connection stays open: %v", request, err)
		}
		_ = c.Close()
	}
}

func TestLockout(t *testing.T) {
	c := &clock{time.Now()}
	l := &lockout{now: c.now}
	other := netip.MustParseAddr("192.0.2.2")
	for range freeFailures {
		if !l.locked("ann", here).IsZero() {
			t.Fatal("locked too early")
		}
		l.fail("ann", here)
	}
	for name, locked := range map[string]bool{"ann " + here.String(): true, "Ann " + other.String(): true, "bob " + here.String(): true, "bob " + other.String(): false} {
		user, addr, _ := strings.Cut(name, " ")
		if got := !l.locked(user, netip.MustParseAddr(addr)).IsZero(); got != locked {
			t.Errorf("%s: locked %v", name, got)
		}
	}
	c.at = c.at.Add(firstWait + time.Second)
	if !l.locked("ann", here).IsZero() {
		t.Error("still locked")
	}
	for range 20 {
		l.fail("ann", here)
	}
	if wait := l.locked("ann", here).Sub(c.at); wait != longestWait {
		t.Errorf("waits %s", wait)
	}
	l.succeed("ann")
	if !l.locked("ann", other).IsZero() || l.locked("ann", here).IsZero() {
		t.Error("a success forgets the name, and not the address")
	}
	for i := range 2 * lockNames {
		l.fail("ann", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if len(l.failed) > lockNames+1 {
		t.Errorf("%d entries", len(l.failed))
	}
	// A host has a whole /64 of IPv6.
	for range freeFailures {
		l.fail("x", there)
	}
	if l.locked("y", netip.MustParseAddr("2001:db8::ffff")).IsZero() {
		t.Error("another address of the same /64 is not locked")
	}
}

func TestAudit(t *testing.T) {
	a, _, _ := open(t)
	for _, action := range []string{"one", "two", "three"} {
		a.Record(t.Context(), Entry{Who: "ann", Action: action, Status: 200})
	}
	list, next, err := a.Audit(t.Context(), 0, 2)
	if err != nil || len(list) != 2 || list[0].Action != "three" || list[0].Time.IsZero() || next != list[1].ID {
		t.Fatalf("%+v %d %v", list, next, err)
	}
	if list, next, err = a.Audit(t.Context(), next, 2); err != nil || len(list) != 1 || list[0].Action != "one" || next != 0 {
		t.Errorf("%+v %d %v", list, next, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a.Record(ended, Entry{Action: "the client has gone"})
	if list, _, _ = a.Audit(t.Context(), 0, 1); list[0].Action != "the client has gone" {
		t.Errorf("%+v", list)
	}
}

// guarded is a listener that says who asks.
func guarded(a *Access) http.Handler {
	mux := http.NewServeMux()
	a.HandleLogin(mux, nil)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		id, _ := From(r.Context())
		_, _ = w.Write([]byte("hello " + id.Name + " " + r.PostFormValue("field")))
	})
	g := &Guard{Access: a, Root: "root-secret", Hosts: []string{"castpoint.example"}, Refuse: func(w http.ResponseWriter, _ *http.Request, p *protocol.Problem) {
		w.WriteHeader(p.Status)
	}}
	return g.Require(mux)
}

func TestGuard(t *testing.T) {
	a, _, _ := open(t)
	if _, err := a.AddUser(t.Context(), "ann", password, Operate); err != nil {
		t.Fatal(err)
	}
	secret, _, err := a.CreateToken(t.Context(), "program", Read, 0, "root")
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Login(t.Context(), "ann", password, here)
	if err != nil {
		t.Fatal(err)
	}
	h := guarded(a)
	cookie := "castpoint=" + s.Secret
	form := "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		want               int
		says               string
	}{
		"stranger":             {"GET", "/", "", nil, 401, ""},
		"stranger, login page": {"GET", "/login", "", nil, 200, "hello  "},
		"stranger, its style":  {"GET", "/login/style.css", "", nil, 200, ""},
		"stranger, not login":  {"GET", "/loginx", "", nil, 401, ""},
		"stranger, up":         {"GET", "/login/../x", "", nil, 401, ""},
		"token":                {"GET", "/", "", []string{"Authorization", "Bearer " + secret}, 200, "hello program"},
		"token changes":        {"DELETE", "/", "", []string{"Authorization", "bearer " + secret}, 200, "hello program"},
		"root":                 {"DELETE", "/", "", []string{"Authorization", "Bearer root-secret"}, 200, "hello root"},
		"wrong token":          {"GET", "/", "", []string{"Authorization", "Bearer x", "Cookie", cookie}, 401, ""},
		"basic":                {"GET", "/", "", []string{"Authorization", "Basic " + secret}, 401, ""},
		"session":              {"GET", "/", "", []string{"Cookie", cookie}, 200, "hello ann"},
		"session changes":      {"POST", "/", "", []string{"Cookie", cookie}, 403, ""},
		"with its CSRF token":  {"POST", "/", "", []string{"Cookie", cookie, "X-CSRF-Token", s.CSRF}, 200, "hello ann"},
		"with another's":       {"POST", "/", "", []string{"Cookie", cookie, "X-CSRF-Token", s.CSRF + "x"}, 403, ""},
		"in the form":          {"POST", "/", "csrf=" + s.CSRF + "&field=7", []string{"Cookie", cookie, "Content-Type", form}, 200, "hello ann 7"},
		"in the address":       {"POST", "/?csrf=" + s.CSRF, "", []string{"Cookie", cookie, "Content-Type", form}, 403, ""},
		"same origin":          {"GET", "/", "", []string{"Cookie", cookie, "Origin", "http://127.0.0.1:8069"}, 200, ""},
		"another origin":       {"GET", "/", "", []string{"Cookie", cookie, "Origin", "http://evil.example"}, 403, ""},
		"another port":         {"POST", "/", "", []string{"Cookie", cookie, "X-CSRF-Token", s.CSRF, "Origin", "http://127.0.0.1:3000"}, 403, ""},
		"null":                 {"GET", "/", "", []string{"Cookie", cookie, "Origin", "null"}, 403, ""},
		"cross site":           {"POST", "/login", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		"rebound":              {"GET", "/login", "", []string{"Host", "rebound.example"}, 421, ""},
		"by name":              {"GET", "/login", "", []string{"Host", "CASTPOINT.example:8069"}, 200, ""},
		"by IPv6":              {"GET", "/login", "", []string{"Host", "[::1]:8069"}, 200, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
		r.Host = "127.0.0.1:8069"
		for i := 0; i < len(c.headers); i += 2 {
			if c.headers[i] == "Host" {
				r.Host = c.headers[i+1]
			}
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want || !strings.HasPrefix(w.Body.String(), c.says) {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}

// TestRevokedWhileItRuns: what is going on with a token ends with it.
func TestRevokedWhileItRuns(t *testing.T) {
	a, _, _ := open(t)
	secret, made, err := a.CreateToken(t.Context(), "program", Read, 0, "root")
	if err != nil {
		t.Fatal(err)
	}
	running, ended := make(chan struct{}), make(chan struct{})
	g := &Guard{Access: a}
	h := g.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
		close(ended)
	}))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+secret)
	go h.ServeHTTP(httptest.NewRecorder(), r)
	<-running
	if _, err := a.RevokeToken(t.Context(), made.Name); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, _, ok := a.byToken(t.Context(), secret, here); ok {
		t.Error("a revoked token lets in")
	}
}

// What is kept of a token or a login is a hash of its secret: who reads the database
// cannot log in with it.
func TestSecretsAreNotKept(t *testing.T) {
	a, _, _ := open(t)
	token, _, err := a.CreateToken(t.Context(), "program", Read, 0, "root")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddUser(t.Context(), "ann", password, Read); err != nil {
		t.Fatal(err)
	}
	s, err := a.Login(t.Context(), "ann", password, here)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(secret))) }
	tokens, err := a.store.AccessTokens(t.Context())
	if err != nil || len(tokens) != 1 || tokens[0].Hash != sum(strings.TrimPrefix(token, secretPrefix)) {
		t.Errorf("%+v, %v", tokens, err)
	}
	sessions, err := a.store.AccessSessions(t.Context())
	if err != nil || len(sessions) != 1 || sessions[0].Hash != sum(s.Secret) {
		t.Errorf("%+v, %v", sessions, err)
	}
	if users, err := a.store.AccessUsers(t.Context()); err != nil || len(users) != 1 || !strings.HasPrefix(users[0].Password, "$argon2id$") {
		t.Errorf("%+v, %v", users, err)
	}
}

func TestLoginForm(t *testing.T) {
	a, _, _ := open(t)
	if _, err := a.AddUser(t.Context(), "ann", password, Operate); err != nil {
		t.Fatal(err)
	}
	h := guarded(a)
	post := func(path, body string, cookies []*http.Cookie) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Host = "127.0.0.1:8069"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	res := post("/login", "user=ann&password=wrong&next=/devices?x=1", nil)
	if res.StatusCode != 303 || res.Header.Get("Location") != "/login?failed=denied&next=%2Fdevices%3Fx%3D1" || len(res.Cookies()) != 0 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	res = post("/login", "user=ann&password="+strings.ReplaceAll(password, " ", "+")+"&next=/devices", nil)
	cookies := res.Cookies()
	if res.StatusCode != 303 || res.Header.Get("Location") != "/devices" || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	id, _, ok := a.bySession(t.Context(), cookies[0].Value, here)
	if !ok {
		t.Fatal("no session")
	}
	if res := post("/logout", "", cookies); res.StatusCode != 403 {
		t.Errorf("logged out without a CSRF token: %d", res.StatusCode)
	}
	if res := post("/logout", "csrf="+id.CSRF, cookies); res.StatusCode != 303 || res.Header.Get("Location") != "/login" || res.Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	for range freeFailures {
		_ = post("/login", "user=bob&password=x", nil)
	}
	for range 20 {
		if res = post("/login", "user=bob&password=x", nil); res.Header.Get("Location") != "/login?failed=locked" {
			t.Error(res.Header)
		}
	}
	var actions []string
	list, _, err := a.Audit(t.Context(), 0, 100)
	for _, e := range list {
		actions = append(actions, e.Who+" "+e.Action+" "+http.StatusText(e.Status))
	}
	if text := strings.Join(actions, "\n"); err != nil || !strings.Contains(text, "ann login OK") || !strings.Contains(text, "ann login Unauthorized") || !strings.Contains(text, "ann logout OK") {
		t.Errorf("%s, %v", text, err)
	} else if n := strings.Count(text, "bob login"); n > freeFailures {
		t.Errorf("%d entries of one who is locked out", n)
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"", "/", "/x?y=1", "//evil.example", "/\\evil", "https://evil.example/", "/a//b", "/../x", "javascript:alert(1)", "/%2f/evil", "\t//evil", "/x#y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t") {
			t.Errorf("%q leads to %q", next, got)
		}
	})
}
