package sessions

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
)

func (s *operations) sessionOperations(a *api.API) {
	api.Answer(a, api.Operation{
		ID: "list-sessions", Method: http.MethodGet, Path: "/sessions", Scope: access.Read, Tag: "sessions",
		Summary: "List sessions, those that have ended last",
		About:   "Those that run, newest first, and the last ones that have ended.",
	}, s.listSessions)
	api.Answer(a, api.Operation{
		ID: "start-session", Method: http.MethodPost, Path: "/sessions", Scope: access.Operate, Tag: "sessions",
		Summary: "Open a session before its first member joins, or start one that waits",
		About:   "A session opens by itself with its first member; this opens one that waits for members, with rules of its own, or has one that waits start now.",
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
	}, s.startSession)
	api.Answer(a, api.Operation{
		ID: "get-session", Method: http.MethodGet, Path: "/sessions/{id}", Scope: access.Read, Tag: "sessions",
		Summary: "A session and its members",
		About:   "Its rate, its repair, and each member with what it still lacks.",
	}, s.getSession)
	api.Follow(a, api.Operation{
		ID: "follow-session", Method: http.MethodGet, Path: "/sessions/{id}/events", Scope: access.Read, Tag: "sessions",
		Summary: "A session and its members, again whenever something has changed, until it ends",
		About:   "Server-sent events: the session whenever something has changed, at most twice a second, until it has ended.",
	}, s.followSession)
	api.Act(a, api.Operation{
		ID: "cancel-session", Method: http.MethodDelete, Path: "/sessions/{id}", Scope: access.Operate, Tag: "sessions",
		Summary: "End a session",
		About:   "Members hear it at once, and their tickets are worth nothing any more. Machines that run a task sequence take the rest by unicast, where the content allows it; else their step has failed.",
	}, s.cancelSession)
	api.Act(a, api.Operation{
		ID: "kick-member", Method: http.MethodDelete, Path: "/sessions/{id}/members/{member}", Scope: access.Operate, Tag: "sessions",
		Summary: "Remove a member from a session",
		About:   "The member's ticket is worth nothing any more, and the others go on with another key.",
	}, s.kickMember)
}

// SessionPath names a session.
type SessionPath struct {
	ID string `path:"id" doc:"of the session, or of its content for the latest one"`
}

func (s *operations) listSessions(_ context.Context, in *struct{ api.PageQuery }) (api.Page[session.Info], error) {
	list := []session.Info{}
	if s.Keeper != nil {
		list = s.Keeper.List()
	}
	return api.CutPlaces(list, api.LongQuery(in.PageQuery)), nil // their order is by time
}

func (s *operations) sessionInfo(idOrContent string) (session.Info, error) {
	id := strings.ToLower(idOrContent)
	if s.Keeper != nil {
		for _, info := range s.Keeper.List() {
			// The content names its session too: people know it better.
			if info.ID == id || info.Carries(id) {
				return info, nil
			}
		}
	}
	return session.Info{}, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint session list shows what there is", "no session %q", id)
}

func (s *operations) getSession(_ context.Context, in *SessionPath) (session.Info, error) {
	return s.sessionInfo(in.ID)
}

// sessionInterval is how often a session that is followed is looked at.
const sessionInterval = 500 * time.Millisecond

func (s *operations) followSession(ctx context.Context, in *SessionPath, out *api.Stream[session.Info]) error {
	info, err := s.sessionInfo(in.ID)
	if err != nil {
		return err
	}
	id := info.ID
	ticks := time.NewTicker(sessionInterval)
	defer ticks.Stop()
	var last []byte
	for {
		text, err := json.Marshal(info)
		if err != nil {
			return err
		}
		if !bytes.Equal(text, last) {
			if err := out.Send(ctx, 0, "", info); err != nil {
				return err
			}
			last = text
		}
		if info.Ended != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		if info, err = s.sessionInfo(id); err != nil {
			return nil // it has ended, and room was made for others
		}
	}
}

// StartSession asks for a session before its first member has joined, or for the
// start of one that is waiting.
type StartSession struct {
	Content string `json:"content"` // id or name
	// Also are further contents that it carries; they are sent after it, in this order.
	Also       []string `json:"also,omitempty"`
	MinMembers int      `json:"min_members,omitempty"` // start when so many have joined ...
	Delay      int      `json:"delay,omitempty"`       // ... or so many seconds after the first
	// At is a time at which it starts in any case.
	At         time.Time `json:"at,omitzero"`
	MaxMembers int       `json:"max_members,omitempty"` // more get a session of their own; 0 takes the server's
	Rate       int64     `json:"rate,omitempty"`        // bits per second; 0 takes the server's
	MinRate    int64     `json:"min_rate,omitempty"`    // bits per second; 0 takes the server's
	Open       int       `json:"open,omitempty"`        // seconds to wait for members; 0 means 15 min
	Now        bool      `json:"now,omitempty"`         // start at once with the members there are
	Interface  string    `json:"interface,omitempty"`   // "" is the server's first
}

const defaultOpen = 15 * time.Minute

func (s *operations) startSession(ctx context.Context, in *struct{ Body StartSession }) (*session.Info, error) {
	req := in.Body
	if s.Keeper == nil {
		return nil, join.ErrNoNetwork
	}
	if req.MinMembers < 0 || req.MaxMembers < 0 || req.Delay < 0 || req.Rate < 0 || req.MinRate < 0 || req.Open < 0 {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "numbers of a start rule cannot be negative")
	}
	if req.MaxMembers > 0 && req.MinMembers > req.MaxMembers {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "the session would wait for %d members and have room for %d", req.MinMembers, req.MaxMembers)
	}
	if req.MinRate > 0 && req.Rate > 0 && req.MinRate > req.Rate {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "the least rate is above the highest")
	}
	if !req.At.IsZero() && req.At.Before(time.Now()) {
		return nil, api.Refusal(http.StatusBadRequest, "", "--now starts it at once", "%s is over", req.At.Format(time.DateTime))
	}
	var parcels []session.Parcel
	for _, id := range append([]string{req.Content}, req.Also...) {
		p, err := session.Receivable(s.Library, id)
		if err != nil {
			return nil, err
		}
		parcels = append(parcels, p)
	}
	rule := session.StartRule{
		MinMembers: req.MinMembers, MaxWait: time.Duration(req.Delay) * time.Second, At: req.At,
		MaxMembers: req.MaxMembers, Rate: req.Rate, MinRate: req.MinRate,
		Open: time.Duration(req.Open) * time.Second,
	}
	if rule.Open == 0 {
		rule.Open = defaultOpen
	}
	link, err := s.Keeper.LinkNamed(req.Interface)
	if err != nil {
		return nil, err
	}
	c, made, err := s.Keeper.For(parcels, link, 0, rule)
	if err != nil {
		return nil, api.ContentProblem(err)
	}
	switch {
	case req.Now:
		c.StartNow()
	case !made:
		return nil, api.Refusal(http.StatusConflict, protocol.CodeRefused, "--now starts it if it is waiting, castpoint session cancel ends it",
			"session %08x of %s is running already", c.ID(), parcels[0].Content.ID)
	}
	api.Note(ctx, "session %08x of %s", c.ID(), parcels[0].Content.ID)
	info := c.Info()
	return &info, nil
}

func (s *operations) running(id string) (*session.Session, error) {
	if s.Keeper == nil {
		return nil, join.ErrNoNetwork
	}
	return s.Keeper.Find(strings.ToLower(id))
}

func (s *operations) cancelSession(ctx context.Context, in *SessionPath) error {
	c, err := s.running(in.ID)
	if err != nil {
		return err
	}
	return s.Join.Cancel(ctx, c, access.Name(ctx))
}

type memberPath struct {
	SessionPath
	Member string `path:"member" doc:"number or name"`
}

func (s *operations) kickMember(ctx context.Context, in *memberPath) error {
	c, err := s.running(in.ID)
	if err != nil {
		return err
	}
	member, err := strconv.ParseUint(in.Member, 10, 32)
	if err != nil {
		// By name, when only one has it.
		var found []uint32
		for _, m := range c.Status().Members {
			if m.Name == in.Member && m.Reason == "" {
				found = append(found, m.ID)
			}
		}
		if len(found) != 1 {
			return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint session show lists them with their numbers", "%d members are called %q", len(found), in.Member)
		}
		member = uint64(found[0])
	}
	return s.Join.Kick(c, uint32(member), access.Name(ctx))
}
