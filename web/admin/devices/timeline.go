package devices

import (
	"context"
	"errors"
	"net/http"

	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *operations) timelineOperations(a *api.API) {
	const tag = "timeline"
	api.Answer(a, api.Operation{
		ID: "get-timeline", Method: http.MethodGet, Path: "/timeline", Scope: access.Read, Tag: tag,
		Summary: "What happened to all machines, oldest first",
		About:   "The newest events that fit limit; before is that of the answer before, to go on with older ones.",
	}, known(s, func(ctx context.Context, in *TimelineQuery) (event.Page, error) {
		return s.timeline(ctx, event.Filter{}, in)
	}))
	api.Answer(a, api.Operation{
		ID: "get-device-timeline", Method: http.MethodGet, Path: "/devices/{id}/timeline", Scope: access.Read, Tag: tag,
		Summary: "What happened to a machine, oldest first",
		About:   "The newest events that fit limit; before is that of the answer before, to go on with older ones. A machine that is not on record has a timeline too.",
	}, known(s, func(ctx context.Context, in *struct {
		MachinePath
		TimelineQuery
	}) (event.Page, error) {
		f, err := s.filterOf(in.ID)
		if err != nil {
			return event.Page{}, err
		}
		return s.timeline(ctx, f, &in.TimelineQuery)
	}))
	api.Follow(a, api.Operation{
		ID: "follow-events", Method: http.MethodGet, Path: "/events", Scope: access.Read, Tag: tag,
		Summary: "What happens to all machines, as it happens; what comes faster than 100 a second for long is left out",
		About:   "Server-sent events, at most 100 a second after the first 500. A client that comes back shows Last-Event-ID.",
	}, func(ctx context.Context, in *FollowQuery, out *api.Stream[event.Event]) error {
		if s.Timeline == nil {
			return NoRecords()
		}
		return s.follow(ctx, event.Filter{}, in, maxLag, out)
	})
	api.Follow(a, api.Operation{
		ID: "follow-device", Method: http.MethodGet, Path: "/devices/{id}/events", Scope: access.Read, Tag: tag,
		Summary: "What happens to a machine, as it happens",
		About:   "Server-sent events, at most 100 a second after the first 500; none is left out. A client that comes back shows Last-Event-ID.",
	}, func(ctx context.Context, in *struct {
		MachinePath
		FollowQuery
	}, out *api.Stream[event.Event]) error {
		if s.Devices == nil || s.Timeline == nil {
			return NoRecords()
		}
		f, err := s.filterOf(in.ID)
		if err != nil {
			return Problem(err)
		}
		return s.follow(ctx, f, &in.FollowQuery, maxTimeline, out)
	})
}

// Lengths of timelines.
const (
	maxTimeline = 10_000 // the longest page
	maxLag      = 500    // events that a stream of all machines is behind at most
)

// MachinePath names a machine, on record or not.
type MachinePath struct {
	ID string `path:"id" doc:"as of a device; a machine that is not on record by its whole MAC or UUID"`
}

// TimelineQuery says which part of a timeline is wanted.
type TimelineQuery struct {
	Kinds  []event.Kind `query:"kind,explode" doc:"only events of these kinds; may be repeated"`
	Before int64        `query:"before" minimum:"0" doc:"only events with lower ids; 0 for the newest"`
	After  int64        `query:"after" minimum:"0" doc:"only events with higher ids"`
	Limit  int          `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"the most that is wanted, the newest"`
}

// filterOf finds the events of a device, or of a machine that is not on record.
func (s *operations) filterOf(id string) (event.Filter, error) {
	one, err := s.Devices.Find(id)
	f := event.Filter{MACs: one.MACs}
	if one.UUID != "" {
		f.UUIDs = []string{one.UUID}
	}
	if errors.Is(err, deploy.ErrNotFound) {
		if mac, macErr := deploy.ParseMAC(id); macErr == nil {
			f.MACs, err = []string{mac}, nil
		} else if uuid, uuidErr := deploy.ParseUUID(id); uuidErr == nil {
			f.UUIDs, err = []string{uuid}, nil
		}
	}
	return f, err
}

func (s *operations) timeline(ctx context.Context, f event.Filter, in *TimelineQuery) (event.Page, error) {
	f.Kinds = in.Kinds
	if err := s.Timeline.Flush(ctx); err != nil {
		return event.Page{}, err
	}
	return s.Timeline.Query(ctx, f, in.Before, in.After, in.Limit)
}

// FollowQuery says where a stream of events begins.
type FollowQuery struct {
	Kinds []event.Kind `query:"kind,explode" doc:"only events of these kinds; may be repeated"`
	After int64        `query:"after" minimum:"0" doc:"first those with higher ids"`
	Last  int          `query:"last" minimum:"0" maximum:"10000" default:"100" doc:"the most of earlier events that come first"`
	// Back is what a browser shows that comes back.
	Back int64 `header:"Last-Event-ID" minimum:"0" doc:"id of the last event that the client has; only those behind it come"`
}

// follow streams events: earlier ones, and then those that happen. What the client
// is too slow for comes out of the store, at most lag events of it.
func (s *operations) follow(ctx context.Context, f event.Filter, in *FollowQuery, lag int, out *api.Stream[event.Event]) error {
	f.Kinds = in.Kinds
	follower := s.Timeline.Follow(f)
	defer follower.Close()
	if err := s.Timeline.Flush(ctx); err != nil {
		return err
	}
	last := max(in.After, in.Back)
	send := func(list []event.Event) error {
		for i := range list {
			if list[i].ID <= last {
				continue
			}
			last = list[i].ID
			if err := out.Send(ctx, last, "", list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if in.Last > 0 {
		p, err := s.Timeline.Query(ctx, f, 0, last, in.Last)
		if err != nil {
			return err
		}
		if err := send(p.Events); err != nil {
			return err
		}
	}
	if err := out.Begin(); err != nil {
		return err
	}
	missed := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-follower.Events():
			if !ok {
				return nil
			}
			if n := follower.Missed(); n != missed {
				missed = n
				p, err := s.Timeline.Query(ctx, f, e.ID, last, lag)
				if err != nil {
					return err
				}
				if err := send(p.Events); err != nil {
					return err
				}
			}
			if err := send([]event.Event{e}); err != nil {
				return err
			}
		}
	}
}
