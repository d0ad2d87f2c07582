package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// outpacing starts a session of 40 Mbit/s with three receivers on good links and some
// on links of 15 Mbit/s, behind a switch that knows who wants what: elsewhere the fast
// session would fill the slow links even after their receivers have left it.
func outpacing(t *testing.T, slow int, size int64) (p *point.Point, wim string, procs []*lab.Process, outs []string) {
	t.Helper()
	p = newPoint(t, lab.Config{Clients: 3 + slow, Snooping: true})
	for _, h := range p.Network.Clients[3:] {
		if err := p.Network.SetRate(t.Context(), h, "15mbit"); err != nil {
			t.Fatal(err)
		}
	}
	wim, c := addWIM(t, p, size)
	serve(t, p, "--min-members", "3", "--max-wait", "1m", "--rate", "40mbit")
	for _, h := range p.Network.Clients {
		outs = append(outs, filepath.Join(p.Network.Dir, h.Name+".wim"))
		procs = append(procs, receive(t, p, h, c.ID, outs[len(outs)-1], "--name", h.Name))
	}
	return p, wim, procs, outs
}

// Two slow receivers are asked into a session of their own, which lives on when the
// others are done.
func TestSlowerSession(t *testing.T) {
	takesMinutes(t)
	p, wim, procs, outs := outpacing(t, 2, 60<<20)
	for i := range 3 {
		mustReceive(t, procs[i], wim, outs[i])
		if took := procs[i].Took().Seconds(); took > 30 {
			t.Errorf("a receiver on a good link took %.1f s", took)
		}
	}
	var slower *session
	for _, s := range sessions(t, p) {
		if s.Slower {
			slower = &s
		}
	}
	if slower == nil || slower.State == "ended" || len(slower.Members) != 2 {
		t.Errorf("when the first session is done there is no slower one with two members: %+v", sessions(t, p))
	}
	for i := 3; i < 5; i++ {
		mustReceive(t, procs[i], wim, outs[i])
		if said := procs[i].Output.String(); !strings.Contains(said, "slower session") {
			t.Errorf("a slow receiver does not say that it was asked into the slower session:\n%s", procs[i].Output.Tail(20))
		}
	}
}

// A receiver whose link is repaired comes back from unicast.
func TestWayBackFromUnicast(t *testing.T) {
	takesMinutes(t)
	p, wim, procs, outs := outpacing(t, 1, 150<<20)
	slow := procs[3]
	if _, err := slow.Output.WaitFor(t.Context(), `"event":"unicast"`, patience); err != nil {
		t.Fatal(err)
	}
	if err := p.Network.SetRate(t.Context(), p.Network.Clients[3], "48mbit"); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Output.WaitFor(t.Context(), `"event":"again".*may keep up`, patience); err != nil {
		t.Fatalf("%v:\n%s", err, slow.Output.Tail(10))
	}
	for i, proc := range procs {
		mustReceive(t, proc, wim, outs[i])
	}
	said := slow.Output.String()
	back := said[strings.Index(said, `"event":"again"`):]
	if !strings.Contains(back, `"state":"sending"`) || strings.Contains(back, `"event":"unicast"`) {
		t.Errorf("after it was asked back it did not receive by multicast to the end:\n%s", slow.Output.Tail(20))
	}
}
