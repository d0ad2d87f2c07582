package web

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/rollout"
	"castpoint/deploy/sequence"
	"castpoint/multicast"
	"castpoint/test/contents"
	"castpoint/web/admit"
)

// A member that doubts what there is not, or what is right, ends nobody's session.
func TestDoubtEndsNoSession(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "rogue"})
	c, err := p.Keeper().Find(p.Keeper().List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	path := multicast.PathObject + adm.Objects[0].SHA256 + multicast.PathDoubt
	for _, block := range []int{-1, 3, 1 << 40} {
		p.refused(t, 400, "", http.MethodPost, path, adm.Ticket, multicast.Doubt{Block: block})
	}
	for _, right := range []multicast.Doubt{{Block: 0}, {Whole: true}} {
		if status, body := p.do(t, http.MethodPost, path, adm.Ticket, right); status != http.StatusNoContent {
			t.Errorf("%+v: %d %s", right, status, body)
		}
	}
	select {
	case <-c.Done():
		t.Error("the session has ended")
	case <-time.After(200 * time.Millisecond):
	}
}

// What members say of others who send into their session is shown as what they say: each
// member counts once, and who makes up addresses fills nothing.
func TestInjectorsAreToldOf(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "pc-1"})
	other := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{}), Name: "pc-2"})
	c, err := p.Keeper().Find(p.Keeper().List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	path := multicast.PathObject + adm.Objects[0].SHA256 + multicast.PathDoubt
	tell := func(ticket, from string) {
		t.Helper()
		if status, body := p.do(t, http.MethodPost, path, ticket, multicast.Doubt{Source: netip.MustParseAddr(from)}); status != http.StatusNoContent {
			t.Errorf("%s: %d %s", from, status, body)
		}
	}
	for range 3 {
		tell(adm.Ticket, "192.0.2.66")
	}
	tell(other.Ticket, "::ffff:192.0.2.66")
	tell(adm.Ticket, adm.Session.Source.String()) // the server's own
	if list := c.Info().Injectors; len(list) != 1 || list[0].Address.String() != "192.0.2.66" || list[0].Reports != 2 || list[0].Members != nil {
		t.Errorf("%+v", list)
	}
	for i := range 100 {
		tell(adm.Ticket, fmt.Sprintf("198.51.100.%d", i))
	}
	if n := len(c.Info().Injectors); n > 16 {
		t.Errorf("%d addresses are kept", n)
	}
	p.refused(t, 403, protocol.CodeTicketUnknown, http.MethodPost, path, "wrong", multicast.Doubt{Source: netip.MustParseAddr("192.0.2.7")})
	p.refused(t, 400, "", http.MethodPost, path, adm.Ticket, map[string]string{"source": "somewhere"})
	if c.Over() {
		t.Error("the session has ended")
	}
}

// Passwords of a deployment that are tried at the same time are counted like those that
// are tried one after the other.
func TestPasswordsTriedAtOnce(t *testing.T) {
	p, _ := deployed(t, func(d *rollout.Deployment) { d.Purpose = rollout.Available })
	g := p.cfg.Rollout
	d, err := g.Deployment("lab")
	if err != nil {
		t.Fatal(err)
	}
	password := "open sesame"
	if _, err := g.PutDeployment(t.Context(), d, &password, 0, "test"); err != nil {
		t.Fatal(err)
	}
	token := p.bootToken(t, deliveryMAC)
	const tries = 40
	var tried atomic.Int32
	var all sync.WaitGroup
	began := time.Now()
	for i := range tries {
		all.Go(func() {
			status, _ := p.do(t, http.MethodPost, protocol.PathRun, token, protocol.RunRequest{Deployment: d.ID, Password: fmt.Sprint("guess ", i)}, protocol.HeaderMAC, deliveryMAC)
			if status == http.StatusForbidden {
				tried.Add(1)
			}
		})
	}
	all.Wait()
	may := 10 + int32(time.Since(began)/(3*time.Second)) + 1
	if n := tried.Load(); n > may {
		t.Errorf("%d of %d passwords were looked at, want at most %d", n, tries, may)
	}
}

// What a machine says that its steps have set is bounded.
func TestVariablesOfARunAreBounded(t *testing.T) {
	p, _ := deployed(t, nil)
	status, body := p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, deliveryMAC), protocol.RunRequest{}, protocol.HeaderMAC, deliveryMAC)
	run := answer[protocol.Run](t, http.StatusOK, status, body)
	for i := range 100 {
		vars := map[string]protocol.VariableValue{}
		for k := range 14 {
			vars[fmt.Sprintf("V%dx%d", i, k)] = protocol.VariableValue{Value: strings.Repeat("x", 4096), Secret: k%2 == 0}
		}
		s := protocol.StepStatus{Run: run.ID, Path: "2", State: protocol.StepStarted, Environment: strings.Repeat("e", 5000), Variables: vars}
		if status, body := p.do(t, http.MethodPost, protocol.PathStep, run.Ticket, s); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	got, _, err := p.cfg.Rollout.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for name, value := range got.Variables {
		bytes += len(name) + len(value)
	}
	if bytes > 1<<20 || len(got.Environment) > 100 {
		t.Errorf("%d variables of %d bytes are kept, and an environment of %d", len(got.Variables), bytes, len(got.Environment))
	}
}

// The ticket of one machine's run opens nothing of another's, and nothing more of its own
// when its device is protected meanwhile.
func TestTicketOfAnother(t *testing.T) {
	p, first := deployed(t, nil)
	const otherMAC = "52:54:00:00:00:02"
	second, err := p.cfg.Devices.Add(t.Context(), deploy.Device{Name: "pc-2", MACs: []string{otherMAC}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	lab, err := p.cfg.Rollout.Collections.Get("lab")
	if err != nil {
		t.Fatal(err)
	}
	lab.Devices = append(lab.Devices, second.ID)
	if _, err := p.cfg.Rollout.Collections.Put(t.Context(), lab); err != nil {
		t.Fatal(err)
	}
	begin := func(mac string) protocol.Run {
		status, body := p.do(t, http.MethodPost, protocol.PathRun, p.bootToken(t, mac), protocol.RunRequest{}, protocol.HeaderMAC, mac)
		return answer[protocol.Run](t, http.StatusOK, status, body)
	}
	mine, theirs := begin(otherMAC), begin(deliveryMAC)
	// A boot token goes with its card.
	p.refused(t, 403, protocol.CodeTokenOther, http.MethodPost, protocol.PathRun, p.bootToken(t, deliveryMAC), protocol.RunRequest{}, protocol.HeaderMAC, otherMAC)
	for path, message := range map[string]any{
		protocol.PathStep:      protocol.StepStatus{Run: theirs.ID, Path: "2", State: protocol.StepDone},
		protocol.PathEnd:       protocol.RunEnd{Run: theirs.ID, State: protocol.RunSucceeded},
		protocol.PathQuestions: protocol.Questions{Run: theirs.ID},
	} {
		p.refused(t, 403, protocol.CodeTokenOther, http.MethodPost, path, mine.Ticket, message)
	}
	p.refused(t, 403, protocol.CodeRefused, http.MethodPost, protocol.PathContent+"other", mine.Ticket, nil)
	if status, body := p.do(t, http.MethodPut, protocol.PathLog+"x.log", mine.Ticket, []byte("mine")); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	if list, err := p.Delivery().Logs(&rollout.Run{ID: theirs.ID, Device: first.ID}); err != nil || len(list) != 0 {
		t.Errorf("another's logs: %v, %v", list, err)
	}
	if status, body := p.do(t, http.MethodPost, protocol.PathInventory, mine.Ticket, sequence.Facts{Model: "mine", UUID: "4c4c4544-0042-3010-8051-b4c04f4e4d32"}); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	if one, err := p.cfg.Devices.Get(first.ID); err != nil || one.Inventory != nil && one.Inventory.Model == "mine" {
		t.Errorf("another's inventory: %+v, %v", one, err)
	}
	// What belongs to sessions knows no ticket of a run, and the other way round.
	adm := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{})})
	p.refused(t, 403, protocol.CodeTicketUnknown, http.MethodPost, multicast.PathJoin, "", multicast.JoinRequest{Ticket: mine.Ticket})
	p.refused(t, 403, protocol.CodeTicketUnknown, http.MethodPost, protocol.PathStep, adm.Ticket, protocol.StepStatus{Run: theirs.ID, Path: "2"})

	object := multicast.PathObject + p.ct.Files[0].Digest.String()
	if status, _ := p.do(t, http.MethodGet, object, theirs.Ticket, nil); status != http.StatusOK {
		t.Errorf("its own content: %d", status)
	}
	if _, err := p.cfg.Devices.Change(t.Context(), first.ID, "", "", func(d *deploy.Device) error { d.Protected = true; return nil }); err != nil {
		t.Fatal(err)
	}
	p.refused(t, 403, protocol.CodeRefused, http.MethodGet, object, theirs.Ticket, nil)
	p.refused(t, 403, protocol.CodeRefused, http.MethodPost, object+multicast.PathDoubt, theirs.Ticket, multicast.Doubt{})
	p.refused(t, 403, protocol.CodeRefused, http.MethodPost, protocol.PathContent+"image", theirs.Ticket, nil)
	p.refused(t, 403, protocol.CodeRefused, http.MethodPost, protocol.PathRun, theirs.Ticket, protocol.RunRequest{})
	status, body := p.do(t, http.MethodPost, protocol.PathStep, theirs.Ticket, protocol.StepStatus{Run: theirs.ID, Path: "2", State: protocol.StepStarted})
	if o := answer[protocol.Order](t, http.StatusOK, status, body); o.Kind != protocol.OrderCancel {
		t.Errorf("a protected machine is told %+v", o)
	}
}

// Connections that do nothing are bounded on the listeners of machines and of people,
// and who asks properly gets through.
func TestListenersAreBounded(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := p.AdminServer("secret")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	for name, dial := range map[string]func() (net.Conn, error){
		"join": func() (net.Conn, error) {
			return tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		},
		"admin": func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) },
	} {
		open := 0
		var conns []net.Conn
		for range 700 {
			c, err := dial()
			if err != nil {
				continue
			}
			conns = append(conns, c)
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprint(c, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				_ = res.Body.Close()
				open++
			}
		}
		if open > 600 {
			t.Errorf("%s: one address has %d connections", name, open)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		eventually(t, name+" answers again", func() bool {
			c, err := dial()
			if err != nil {
				return false
			}
			defer c.Close()
			fmt.Fprint(c, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_ = res.Body.Close()
			}
			return err == nil
		})
	}
}
