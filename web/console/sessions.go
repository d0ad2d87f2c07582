package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/multicast"
	"castpoint/web"
)

func (c *Console) sessionRoutes() {
	c.page("GET /sessions", c.sessions)
	c.page("GET /sessions/{id}", c.session)
	c.action("POST /sessions", c.startSession)
	c.action("POST /sessions/{id}/cancel", func(r *http.Request) (string, string, error) {
		id := r.PathValue("id")
		return "/sessions", "Ended session " + id + ".", c.cfg.API.Call(r.Context(), http.MethodDelete, sessionPath(id), nil, nil)
	})
	c.action("POST /sessions/{id}/members/{member}/kick", func(r *http.Request) (string, string, error) {
		id, member := r.PathValue("id"), r.PathValue("member")
		return sessionPath(id), "Removed member " + member + ": it cannot read what is sent from now on.",
			c.cfg.API.Call(r.Context(), http.MethodDelete, sessionPath(id)+"/members/"+url.PathEscape(member), nil, nil)
	})
}

func sessionPath(id string) string { return "/sessions/" + url.PathEscape(id) }

// sessionsData is what the list of sessions shows.
type sessionsData struct {
	Running, Ended []sessionData
	Contents       []*content.Content // that may be sent
}

func (c *Console) sessions(r *http.Request) (*page, error) {
	list, err := all[web.SessionInfo](r.Context(), c, "/sessions")
	if err != nil {
		return nil, err
	}
	var d sessionsData
	for i := range list {
		s := newSessionData(&list[i])
		if s.Ended == nil {
			d.Running = append(d.Running, s)
		} else {
			d.Ended = append(d.Ended, s)
		}
	}
	contents, err := all[*content.Content](r.Context(), c, "/contents")
	if err != nil {
		return nil, err
	}
	for _, ct := range contents {
		if ct.Distribution.Multicast && len(ct.Files) == 1 {
			d.Contents = append(d.Contents, ct)
		}
	}
	return &page{title: "Sessions", nav: "/sessions", body: "sessions", data: &d, live: liveSoon}, nil
}

// sessionData is a session and what is made out of the numbers of its members.
type sessionData struct {
	*web.SessionInfo
	Count    []memberCount
	Complete float64 // mean of the members that are still there, in percent
	Slowest  int     // blocks of the member that has the fewest
	Curve    *chart
	// Sorted are the members in the order of the page.
	Sorted []multicast.MemberStatus
	Order  string
	Hidden int // members that are not shown
	Shown  int
	Left   string // time until everybody has everything, at this rate
}

// memberCount is how many members are in a state.
type memberCount struct {
	State multicast.MemberState
	Count int
}

// memberStates are the states in the order in which they are counted.
var memberStates = []multicast.MemberState{
	multicast.MemberFailed, multicast.MemberSilent, multicast.MemberMoved, multicast.MemberJoined, multicast.MemberReceiving,
	multicast.MemberReceived, multicast.MemberDone, multicast.MemberKicked,
}

// ended says whether a member in that state is no longer waited for.
func ended(s multicast.MemberState) bool {
	return s == multicast.MemberDone || s == multicast.MemberFailed || s == multicast.MemberKicked
}

func newSessionData(s *web.SessionInfo) sessionData {
	d := sessionData{SessionInfo: s, Slowest: s.Blocks}
	count := map[multicast.MemberState]int{}
	sum := 0
	for _, m := range s.Members {
		count[m.State]++
		if m.State == multicast.MemberFailed || m.State == multicast.MemberKicked {
			continue
		}
		complete := m.Complete
		if m.State == multicast.MemberDone {
			complete = s.Blocks
		}
		sum += complete
		if complete < d.Slowest {
			d.Slowest = complete
		}
	}
	if n := len(s.Members) - count[multicast.MemberFailed] - count[multicast.MemberKicked]; n > 0 && s.Blocks > 0 {
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
		d.Left = span(time.Duration(8 * lacking / s.Rate * float64(time.Second)).Round(time.Second))
	}
	return d
}

// shownMembers is how many members a page shows at most.
const shownMembers = 1000

func (c *Console) session(r *http.Request) (*page, error) {
	var s web.SessionInfo
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, sessionPath(r.PathValue("id")), nil, &s); err != nil {
		return nil, err
	}
	d := newSessionData(&s)
	d.Curve = c.curves.of(s.ID)
	d.Order = r.URL.Query().Get("order")
	d.Sorted = slices.Clone(s.Members)
	switch d.Order {
	case "name":
		slices.SortStableFunc(d.Sorted, func(a, b multicast.MemberStatus) int { return strings.Compare(a.Name, b.Name) })
	case "number":
	default:
		d.Order = "need"
		slices.SortStableFunc(d.Sorted, byNeed)
	}
	if d.Hidden = len(d.Sorted) - shownMembers; d.Hidden > 0 {
		d.Sorted = d.Sorted[:shownMembers]
	}
	d.Shown = len(d.Sorted)
	p := &page{title: "Session " + s.ID, nav: "/sessions", body: "session", data: &d}
	if s.Ended == nil {
		p.live = liveSoon
	}
	return p, nil
}

// byNeed puts members first that somebody has to look after, and those last that
// are done. Members that receive keep their place, whatever their progress: a list
// whose rows change places each second cannot be read.
func byNeed(a, b multicast.MemberStatus) int {
	rank := func(m multicast.MemberStatus) int {
		switch {
		case m.State == multicast.MemberFailed || m.State == multicast.MemberSilent:
			return 0
		case m.State == multicast.MemberMoved:
			return 1
		case ended(m.State):
			return 3
		}
		return 2
	}
	return rank(a) - rank(b)
}

func (c *Console) startSession(r *http.Request) (to, said string, err error) {
	f := r.PostForm
	req := web.StartSession{Content: f.Get("content"), Interface: f.Get("interface"), Now: f.Has("now")}
	for name, to := range map[string]*int{"min_members": &req.MinMembers, "max_members": &req.MaxMembers, "delay": &req.Delay, "open": &req.Open} {
		text := strings.TrimSpace(f.Get(name))
		if text == "" {
			continue
		}
		if *to, err = strconv.Atoi(text); err != nil {
			return "", "", wrong("%s %q: want a number", strings.ReplaceAll(name, "_", " "), text)
		}
	}
	if text := strings.TrimSpace(f.Get("rate")); text != "" {
		mbit, err := strconv.ParseFloat(text, 64)
		if err != nil || mbit <= 0 {
			return "", "", wrong("rate %q: want Mbit/s, as in 400", text)
		}
		req.Rate = int64(mbit * 1e6)
	}
	var s web.SessionInfo
	if err := c.cfg.API.Call(r.Context(), http.MethodPost, "/sessions", req, &s); err != nil {
		return "", "", err
	}
	said = "Session " + s.ID + " waits for its members."
	if req.Now {
		said = "Session " + s.ID + " has started with the members that are there."
	}
	return sessionPath(s.ID), said, nil
}
