package web

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/multicast"
	"castpoint/multicast/sender"
	"castpoint/test/contents"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
)

func TestJoinByTokenOnce(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	token := p.token(t, admit.Token{})
	adm := p.joins(t, multicast.JoinRequest{Content: "image", Token: token, Name: "pc-1"})
	if len(adm.Objects) != 1 || len(adm.Files) != 1 || adm.Folder || adm.Ticket == "" || len(adm.Member.Key) != 32 || adm.MulticastOnly ||
		adm.Objects[0].Size != int64(len(p.data)) || adm.Objects[0].SHA256 != p.ct.Files[0].Digest.String() || adm.Files[0].Name != "image.bin" {
		t.Errorf("admission %+v", adm)
	}
	if f := adm.Session.Feedback; f.Addr() != netip.MustParseAddr("127.0.0.1") || f.Port() != adm.Session.Group.Port() {
		t.Errorf("feedback %s, group %s", f, adm.Session.Group)
	}
	problem := p.refused(t, 403, protocol.CodeTokenUsed, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: token, Name: "pc-2"})
	if !strings.Contains(problem.Detail, "token was already used at ") || !strings.HasSuffix(problem.Detail, "by pc-1") {
		t.Error(problem.Detail)
	}
	// The second member comes into the same session.
	second := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "pc-2"})
	if second.Session.ID != adm.Session.ID || second.Member.ID == adm.Member.ID || second.Ticket == adm.Ticket {
		t.Errorf("second %+v, first %+v", second.Session, adm.Session)
	}
	// A ticket readmits, without a second entry for the same machine.
	again := p.joins(t, multicast.JoinRequest{Ticket: adm.Ticket})
	if again.Ticket != adm.Ticket || again.Session.ID != adm.Session.ID || again.Member.ID == adm.Member.ID {
		t.Errorf("again %+v", again)
	}
	list := p.Keeper().List()
	if len(list) != 1 || len(list[0].Members) != 2 || list[0].Content != p.ct.ID {
		t.Errorf("sessions %+v", list)
	}
}

func TestJoinRefusals(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	other, _ := contents.AddImage(t, p.lib, "other", 1000, content.Distribution{})
	refused := func(status int, code string, req any, header ...string) *protocol.Problem {
		t.Helper()
		return p.refused(t, status, code, http.MethodPost, multicast.PathJoin, "", req, header...)
	}
	refused(400, "", multicast.JoinRequest{})
	refused(400, "", multicast.JoinRequest{Token: "a", Ticket: "b"})
	refused(400, "", []byte("{"))
	refused(400, "", []byte(`{"tokin":"x"}`))
	refused(413, "", []byte(`{"token":"`+strings.Repeat("x", 16<<10)+`"}`))
	refused(403, protocol.CodeTokenUnknown, multicast.JoinRequest{Token: "abc"})
	refused(403, protocol.CodeTicketUnknown, multicast.JoinRequest{Ticket: "abc"})

	token := p.token(t, admit.Token{})
	refused(404, protocol.CodeNotFound, multicast.JoinRequest{Token: token, Content: "nothing"})
	refused(403, protocol.CodeTokenOther, multicast.JoinRequest{Token: token, Content: "other"})
	if hint := refused(403, protocol.CodeRefused, multicast.JoinRequest{Token: p.token(t, admit.Token{Content: other.ID})}).Hint; !strings.Contains(hint, "content set other --multicast") {
		t.Error(hint)
	}
	bound := p.token(t, admit.Token{MAC: "52:54:00:aa:00:01"})
	refused(403, protocol.CodeTokenOther, multicast.JoinRequest{Token: bound})
	refused(403, protocol.CodeTokenOther, multicast.JoinRequest{Token: bound}, protocol.HeaderMAC, "52:54:00:aa:00:02, rubbish")
	p.joins(t, multicast.JoinRequest{Token: bound}, protocol.HeaderMAC, "52:54:00:aa:00:02, 52-54-00-AA-00-01")

	// None of the refusals has used the token up.
	p.joins(t, multicast.JoinRequest{Token: token})

	boots := p.token(t, admit.Token{Boot: true})
	if hint := refused(403, protocol.CodeRefused, multicast.JoinRequest{Token: boots}).Hint; !strings.Contains(hint, "--assign") {
		t.Error(hint)
	}
}

func TestNothingOfTheAdminAPIOnTheJoinListener(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	for _, path := range []string{"/", api.Prefix + "/contents", api.Prefix + "/status", "/v1", "/v1/join/x"} {
		if status, _ := p.do(t, http.MethodGet, path, "", nil); status != http.StatusNotFound {
			t.Errorf("GET %s answered %d", path, status)
		}
	}
}

func TestJoinListenerIsTLS13Only(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	_, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if pin := protocol.NewPin(conn.ConnectionState().PeerCertificates[0].Raw); pin != p.Identity().Pin {
		t.Errorf("pin %s, identity says %s", pin, p.Identity().Pin)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	token := p.token(t, admit.Token{})
	for range 10 {
		p.refused(t, 403, protocol.CodeTokenUnknown, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: "guess"})
	}
	p.refused(t, 429, protocol.CodeTooMany, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: "guess"})
	p.refused(t, 429, protocol.CodeTooMany, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Token: token})
}

func TestObject(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{})})
	path := multicast.PathObject + adm.Objects[0].SHA256
	status, body := p.do(t, http.MethodGet, path, adm.Ticket, nil, "Range", "bytes=1000-180223")
	if status != http.StatusPartialContent || !bytes.Equal(body, p.data[1000:180224]) {
		t.Errorf("range: %d, %d bytes", status, len(body))
	}
	if status, body := p.do(t, http.MethodGet, path, adm.Ticket, nil); status != http.StatusOK || !bytes.Equal(body, p.data) {
		t.Errorf("whole: %d, %d bytes", status, len(body))
	}
	p.refused(t, 403, protocol.CodeTicketUnknown, http.MethodGet, path, "", nil)
	p.refused(t, 403, protocol.CodeTicketUnknown, http.MethodGet, path, p.token(t, admit.Token{}), nil)
	p.refused(t, 403, protocol.CodeTokenOther, http.MethodGet, multicast.PathObject+strings.Repeat("0", 64), adm.Ticket, nil)
	if m := p.Keeper().List()[0].Members[0]; m.State != session.MemberUnicast {
		t.Errorf("member %+v", m)
	}
	if status, b := p.do(t, http.MethodPost, multicast.PathLeave, adm.Ticket, multicast.LeaveRequest{Complete: true, Unicast: 3}); status != http.StatusNoContent {
		t.Fatalf("leave: %d %s", status, b)
	}
	if m := p.Keeper().List()[0].Members[0]; m.State != sender.MemberDone || m.Unicast != 3 {
		t.Errorf("member %+v", m)
	}
}

func TestMulticastOnlyRefusesUnicast(t *testing.T) {
	p := newPoint(t, content.Distribution{Multicast: true, MulticastOnly: true}, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{})})
	if !adm.MulticastOnly {
		t.Error("the admission does not say it")
	}
	p.refused(t, 403, protocol.CodeRefused, http.MethodGet, multicast.PathObject+adm.Objects[0].SHA256, adm.Ticket, nil)
}

func TestKickTakesTheTicketAway(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "pc"})
	c, err := p.Keeper().Find(p.Keeper().List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kick(c, adm.Member.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	p.refused(t, 403, protocol.CodeSessionEnded, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Ticket: adm.Ticket})
	p.refused(t, 403, protocol.CodeSessionEnded, http.MethodGet, multicast.PathObject+adm.Objects[0].SHA256, adm.Ticket, nil)
	wantCode(t, p.Kick(c, adm.Member.ID+1, "ada"), protocol.CodeNotFound)
}

func TestTicketAfterARestartOfTheServer(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "pc"})
	p.Close()
	p.refused(t, 503, "", http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Ticket: adm.Ticket})
	next, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.Identity().Pin != p.Identity().Pin {
		t.Error("the pin has changed")
	}
	var again multicast.Admission
	w := httptest.NewRecorder()
	next.JoinHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, multicast.PathJoin, strings.NewReader(`{"ticket":"`+adm.Ticket+`"}`)))
	if err := json.Unmarshal(w.Body.Bytes(), &again); err != nil || again.Objects[0].SHA256 != adm.Objects[0].SHA256 || again.Session.ID == adm.Session.ID {
		t.Errorf("%+v, %s", again, w.Body)
	}
}

func TestPolicyAndEvents(t *testing.T) {
	p := newPoint(t, contents.Free, withDevices(t, deploy.PolicyServe))
	boots := p.token(t, admit.Token{Boot: true, MAC: "52:54:00:aa:00:01", Name: "52-54-00-aa-00-01"})
	policy := func(secret string) (got protocol.Policy) {
		t.Helper()
		status, body := p.do(t, http.MethodGet, protocol.PathPolicy, secret, nil)
		if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return got
	}
	if got := policy(boots); got.Action != protocol.ActionWait || got.Poll == 0 || !strings.Contains(got.Message, "--assign") {
		t.Errorf("nothing is assigned: %+v", got)
	}
	if err := p.Reload(join.Assignment{Content: p.ct.ID, Target: "/dev/sda", After: protocol.AfterReboot}, *loopback()); err != nil {
		t.Fatal(err)
	}
	want := protocol.Policy{Action: protocol.ActionReceive, Content: p.ct.ID, Size: int64(len(p.data)), Target: "/dev/sda",
		After: protocol.AfterReboot, Message: "this machine receives image"}
	if got := policy(boots); !cmp.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	adm := p.joins(t, multicast.JoinRequest{Token: boots}, protocol.HeaderMAC, "52:54:00:aa:00:01")
	if got := policy(boots); !cmp.Equal(got, want) {
		t.Errorf("a used token must still have its policy: %+v", got)
	}
	for _, secret := range []string{boots, adm.Ticket} {
		if status, b := p.do(t, http.MethodPost, protocol.PathEvents, secret, protocol.Event{Kind: "done", Name: "liar", Message: "a\nb\x1b[2J"}); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, b)
		}
	}
	if err := p.cfg.Timeline.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, err := p.cfg.Timeline.Query(t.Context(), event.Filter{MACs: []string{"52:54:00:aa:00:01"}, Kinds: []event.Kind{event.KindStep}}, 0, 0, 0)
	if err != nil || len(told.Events) != 2 || told.Events[0].Message != "done: ab[2J" || told.Events[0].Remote != "127.0.0.1" {
		t.Errorf("%+v, %v", told, err)
	}
	p.refused(t, 403, protocol.CodeTokenUnknown, http.MethodGet, protocol.PathPolicy, "", nil)
	p.refused(t, 403, protocol.CodeTokenUnknown, http.MethodPost, protocol.PathEvents, "abc", protocol.Event{})
	p.refused(t, 413, "", http.MethodPost, protocol.PathEvents, boots, []byte(`{"message":"`+strings.Repeat("x", 16<<10)+`"}`))
}

func TestBootToken(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	c := boot.Client{MAC: []byte{0x52, 0x54, 0, 0xaa, 0, 1}, Server: netip.MustParseAddr("192.0.2.9")}
	ticket, err := p.BootToken(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if ticket.Server != "https://192.0.2.9:8443" || ticket.Pin != p.Identity().Pin.String() {
		t.Errorf("%+v", ticket)
	}
	k, err := p.Tokens().Look(ticket.Token)
	if err != nil || !k.Boot || k.MAC != "52:54:00:aa:00:01" || k.Name != "52-54-00-aa-00-01" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestAssignmentIsCheckedAtTheStart(t *testing.T) {
	lib, ct, _ := contents.New(t, 1000, contents.Free)
	_, _ = contents.AddImage(t, lib, "closed", 1000, content.Distribution{})
	for _, a := range []join.Assignment{{Content: "nothing"}, {Content: "closed"}, {After: "explode"}} {
		if _, err := New(Config{Data: t.TempDir(), Library: lib, Assign: a}); err == nil {
			t.Errorf("%+v was accepted", a)
		}
	}
	s, err := New(Config{Data: t.TempDir(), Library: lib, Assign: join.Assignment{Content: "IMAGE"}})
	if err != nil || s.Assigned() != ct.ID {
		t.Error(err)
	}
}
