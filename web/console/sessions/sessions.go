// Package sessions has the pages of multicast sessions, and the curves of their
// rates.
package sessions

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/multicast/sender"
	"castpoint/web/admin/sessions"
	"castpoint/web/console/frame"
	"castpoint/web/session"
)

//go:embed templates
var templates embed.FS

// Sessions are the pages. Sample is to run while they are there.
type Sessions struct {
	*frame.Frame
	list   func() []session.Info
	curves *curves
}

// Add adds the pages to a frame. list is asked for the rates each second.
func Add(f *frame.Frame, list func() []session.Info) (*Sessions, error) {
	p := &Sessions{f, list, newCurves()}
	p.Page("GET /sessions", p.sessions)
	p.Page("GET /sessions/{id}", p.session)
	p.Action("POST /sessions", p.start)
	p.Ask("POST /sessions/{id}/cancel", p.askCancel, func(r *http.Request) (string, string, error) {
		id := r.PathValue("id")
		return "/sessions", "Ended session " + id + ".", p.Do(r, http.MethodDelete, sessionPath(id), nil, nil)
	})
	p.Ask("POST /sessions/{id}/members/{member}/kick", p.askKick, func(r *http.Request) (string, string, error) {
		id, member := r.PathValue("id"), r.PathValue("member")
		return sessionPath(id), "Removed member " + member + ": it cannot read what is sent from now on.",
			p.Do(r, http.MethodDelete, sessionPath(id)+"/members/"+url.PathEscape(member), nil, nil)
	})
	return p, f.Templates(templates, template.FuncMap{
		"memberName": memberName, "memberEnded": ended,
	})
}

// Sample looks at the rates of sessions until ctx ends.
func (p *Sessions) Sample(ctx context.Context) { p.curves.routineSample(ctx, p.list) }

// Take adds one sample of each session to its curve.
func (p *Sessions) Take(now time.Time, list []session.Info) { p.curves.take(now, list) }

// memberName is what a member is called, or its number where it has no name.
func memberName(m sender.MemberStatus) string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("member %d", m.ID)
}

// askCancel says who has not got everything.
func (p *Sessions) askCancel(r *http.Request) (*frame.Question, error) {
	var s session.Info
	if err := p.Get(r, sessionPath(r.PathValue("id")), &s); err != nil {
		return nil, err
	}
	lacking := 0
	for _, m := range s.Members {
		if !ended(m.State) {
			lacking++
		}
	}
	says := "Nobody lacks anything."
	if lacking > 0 {
		says = frame.Plural(lacking, "member has", "members have") + " not everything yet. They go on by unicast, or join the next session; members of a content that is never sent by unicast wait for that."
	}
	return &frame.Question{Title: "End the session of " + s.Name + "?", Says: []string{says}, Do: "End the session", Back: sessionPath(s.ID)}, nil
}

func (p *Sessions) askKick(r *http.Request) (*frame.Question, error) {
	var s session.Info
	if err := p.Get(r, sessionPath(r.PathValue("id")), &s); err != nil {
		return nil, err
	}
	for _, m := range s.Members {
		if strconv.FormatUint(uint64(m.ID), 10) == r.PathValue("member") {
			return &frame.Question{
				Title: "Remove " + memberName(m) + " from the session?", Do: "Remove " + memberName(m), Back: sessionPath(s.ID),
				Says: []string{"It stops receiving, and its ticket is void: it joins again with a new token only, by booting from the network once more. The session goes on for the others with a new key."},
			}, nil
		}
	}
	return nil, frame.NotFound("session %s has no member %s", s.ID, r.PathValue("member"))
}

func sessionPath(id string) string { return "/sessions/" + url.PathEscape(id) }

// sessionsData is what the list of sessions shows.
type sessionsData struct {
	Running  []sessionData
	Ended    frame.Part[sessionData]
	Contents []*content.Content // that may be sent
}

// endedPart is how many sessions that have ended a page has.
const endedPart = 50

func (p *Sessions) sessions(r *http.Request) (*frame.Page, error) {
	list, err := frame.All[session.Info](r, p.Frame, "/sessions")
	if err != nil {
		return nil, err
	}
	var d sessionsData
	var over []sessionData
	for i := range list {
		s := newSessionData(&list[i])
		if s.Ended == nil {
			d.Running = append(d.Running, s)
		} else {
			over = append(over, s)
		}
	}
	d.Ended = frame.Cut(r, over, endedPart)
	contents, err := frame.All[*content.Content](r, p.Frame, "/contents")
	if err != nil {
		return nil, err
	}
	for _, ct := range contents {
		if ct.Distribution.Multicast && len(ct.Files) == 1 {
			d.Contents = append(d.Contents, ct)
		}
	}
	return &frame.Page{Title: "Sessions", Nav: "/sessions", Body: "sessions", Data: &d, Live: frame.Soon}, nil
}

// sessionData is a session and what is made out of the numbers of its members.
type sessionData struct {
	*session.Info
	Count    []memberCount
	Complete float64 // mean of the members that are still there, in percent
	Slowest  int     // blocks of the member that has the fewest
	Curve    *chart
	// Sorted are the members in the order of the page.
	Sorted []sender.MemberStatus
	Order  string
	Hidden int // members that are not shown
	Shown  int
	Left   string // time until everybody has everything, at this rate
}

// memberCount is how many members are in a state.
type memberCount struct {
	State sender.MemberState
	Count int
}

// memberStates are the states in the order in which they are counted.
var memberStates = []sender.MemberState{
	sender.MemberFailed, sender.MemberSilent, sender.MemberMoved, sender.MemberJoined, sender.MemberReceiving,
	sender.MemberReceived, sender.MemberDone, sender.MemberKicked,
}

// ended says whether a member in that state is no longer waited for.
func ended(s sender.MemberState) bool {
	return s == sender.MemberDone || s == sender.MemberFailed || s == sender.MemberKicked
}

func newSessionData(s *session.Info) sessionData {
	d := sessionData{Info: s, Slowest: s.Blocks}
	count := map[sender.MemberState]int{}
	sum := 0
	for _, m := range s.Members {
		count[m.State]++
		if m.State == sender.MemberFailed || m.State == sender.MemberKicked {
			continue
		}
		complete := m.Complete
		if m.State == sender.MemberDone {
			complete = s.Blocks
		}
		sum += complete
		if complete < d.Slowest {
			d.Slowest = complete
		}
	}
	if n := len(s.Members) - count[sender.MemberFailed] - count[sender.MemberKicked]; n > 0 && s.Blocks > 0 {
		d.Complete = 100 * float64(sum) / float64(n*s.Blocks)
	}
	for _, state := range memberStates {
		if count[state] > 0 {
			d.Count = append(d.Count, memberCount{state, count[state]})
		}
	}
	if len(s.Members) == 0 {
		d.Slowest = 0
	}
	if s.Ended == nil && s.Rate > 0 && s.Blocks > 0 && d.Slowest < s.Blocks {
		lacking := float64(s.Size) * float64(s.Blocks-d.Slowest) / float64(s.Blocks)
		d.Left = frame.Span(time.Duration(8 * lacking / s.Rate * float64(time.Second)).Round(time.Second))
	}
	return d
}

// shownMembers is how many members a page shows at most.
const shownMembers = 1000

func (p *Sessions) session(r *http.Request) (*frame.Page, error) {
	var s session.Info
	if err := p.Get(r, sessionPath(r.PathValue("id")), &s); err != nil {
		return nil, err
	}
	d := newSessionData(&s)
	d.Curve = p.curves.of(s.ID)
	d.Order = r.URL.Query().Get("order")
	d.Sorted = slices.Clone(s.Members)
	switch d.Order {
	case "name":
		slices.SortStableFunc(d.Sorted, func(a, b sender.MemberStatus) int { return strings.Compare(a.Name, b.Name) })
	case "number":
	default:
		d.Order = "need"
		slices.SortStableFunc(d.Sorted, byNeed)
	}
	if d.Hidden = len(d.Sorted) - shownMembers; d.Hidden > 0 {
		d.Sorted = d.Sorted[:shownMembers]
	}
	d.Shown = len(d.Sorted)
	shown := &frame.Page{Title: "Session of " + s.Name, Nav: "/sessions", Body: "session", Data: &d}
	if s.Ended == nil {
		shown.Live = frame.Soon
	}
	return shown, nil
}

// byNeed puts members first that somebody has to look after, and those last that
// are done. Members that receive keep their place, whatever their progress: a list
// whose rows change places each second cannot be read.
func byNeed(a, b sender.MemberStatus) int {
	rank := func(m sender.MemberStatus) int {
		switch {
		case m.State == sender.MemberFailed || m.State == sender.MemberSilent:
			return 0
		case m.State == sender.MemberMoved:
			return 1
		case ended(m.State):
			return 3
		}
		return 2
	}
	return rank(a) - rank(b)
}

func (p *Sessions) start(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	req := sessions.StartSession{Content: f.Text("content"), Interface: f.Text("interface"), Now: f.Text("now") != ""}
	for _, n := range []struct {
		name, what string
		to         *int
	}{
		{"min_members", "number of members to start with", &req.MinMembers}, {"max_members", "largest number of members", &req.MaxMembers},
		{"delay", "seconds after the first", &req.Delay}, {"open", "seconds that it stays open", &req.Open},
	} {
		if v := f.Number(n.name, n.what); v != nil {
			*n.to = *v
		}
	}
	if text := f.Text("rate"); text != "" {
		mbit, err := strconv.ParseFloat(text, 64)
		if err != nil || mbit <= 0 {
			return "", "", frame.Wrong("rate %q: want Mbit/s, as in 400", text)
		}
		req.Rate = int64(mbit * 1e6)
	}
	if at := f.Time("at", "start"); at != nil && !at.IsZero() {
		req.At = *at
	}
	if err := f.Err(); err != nil {
		return "", "", err
	}
	var s session.Info
	if err := p.Do(r, http.MethodPost, "/sessions", req, &s); err != nil {
		return "", "", err
	}
	said = "Session " + s.ID + " waits for its members."
	if req.Now {
		said = "Session " + s.ID + " has started with the members that are there."
	}
	return sessionPath(s.ID), said, nil
}
