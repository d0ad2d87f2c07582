package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// killsPerRound is how often a round's programs are killed before they are left to
// end.
const killsPerRound = 5

// Sender and receivers are killed at random points of a session, and started again
// with the same command line: they go on where they were and end right. CASTPOINT_KILLS
// is how often; without it once a round.
func TestKilledInSession(t *testing.T) {
	kills := killsPerRound
	if s := os.Getenv("CASTPOINT_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("CASTPOINT_KILLS: %v", err)
		}
	}
	p := newPoint(t, lab.Config{Clients: 2, Loss: 0.005})
	wim, c := addWIM(t, p, 10<<20)
	k := &killing{t: t, p: p, wim: wim, content: c.ID}
	k.serve()
	for round := 0; k.kills < kills; round++ {
		if k.ended > 10*kills {
			t.Fatalf("%d receivers have ended before they could be killed", k.ended)
		}
		k.round(round, min(killsPerRound, kills-k.kills))
	}
	t.Logf("%d kills: %d of the server, %d of receivers; %d receivers had to be given another token, %d had ended before they could be killed",
		k.kills, k.servers, k.kills-k.servers, k.tokens, k.ended)
}

// killing is a server and the receivers of the present round.
type killing struct {
	t       *testing.T
	p       *point.Point
	wim     string
	content string

	receivers                     []*mortal
	kills, servers, tokens, ended int
}

// mortal is a receiver and how to start it again.
type mortal struct {
	host  *lab.Host
	token string
	out   string
	proc  *lab.Process
}

func (k *killing) serve() {
	k.t.Helper()
	serve(k.t, k.p, "--rate", "20mbit")
}

func (k *killing) start(m *mortal) {
	k.t.Helper()
	var err error
	if m.proc, err = k.p.Receive(m.host, nil, k.content, m.token, m.out, "--name", m.host.Name, "--no-unicast"); err != nil {
		k.t.Fatal(err)
	}
}

// round has both clients receive, with so many kills in between.
func (k *killing) round(n, kills int) {
	k.t.Helper()
	k.receivers = nil
	for _, h := range k.p.Network.Clients {
		m := &mortal{host: h, token: token(k.t, k.p, k.content), out: filepath.Join(k.p.Network.Dir, fmt.Sprintf("%s-%d", h.Name, n))}
		k.receivers = append(k.receivers, m)
		k.start(m)
	}
	for range kills {
		// The session lasts four seconds, and some more for each kill. Starting a
		// program is a part of it that may be hit as well.
		time.Sleep(time.Duration(rand.Int64N(int64(2 * time.Second))))
		if victim := rand.IntN(len(k.receivers) + 1); victim < len(k.receivers) {
			k.killReceiver(k.receivers[victim])
			continue
		}
		k.p.Server.Kill()
		k.serve()
		k.kills++
		k.servers++
	}
	for _, m := range k.receivers {
		k.end(m)
	}
}

func (k *killing) killReceiver(m *mortal) {
	select {
	case <-m.proc.Done():
		k.ended++
		return
	default:
	}
	m.proc.Kill()
	k.start(m)
	k.kills++
}

// end waits for a receiver, and checks what it has.
func (k *killing) end(m *mortal) {
	k.t.Helper()
	for tries := 0; ; tries++ {
		code := wait(k.t, m.proc)
		if code == 0 {
			break
		}
		if err := image.Same(k.wim, m.out); err == nil {
			break // it was killed when the file was in place: the next run leaves it alone
		}
		said := m.proc.Output.String()
		switch {
		case tries > 3:
			code = -1
		case code == 1 && strings.Contains(said, "connection refused"):
			// It was started while there was no server: the same command, later.
		case code == 5 && strings.Contains(said, "already used"):
			// It was killed between the use of its token and the note of its ticket.
			k.tokens++
			m.token = token(k.t, k.p, k.content)
		default:
			code = -1
		}
		if code < 0 {
			k.t.Fatalf("after %d kills %s ended:\n%s", k.kills, m.host.Name, m.proc.Output.Tail(20))
		}
		k.start(m)
	}
	if err := image.Same(k.wim, m.out); err != nil {
		k.t.Fatal(err)
	}
	left, err := filepath.Glob(m.out + ".*")
	if err != nil || len(left) > 0 {
		k.t.Errorf("%s left %v behind (%v)", m.host.Name, left, err)
	}
	_ = os.Remove(m.out)
}
