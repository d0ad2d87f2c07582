package join

import (
	"fmt"
	"net"
	"net/netip"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/multicast"
	"castpoint/web/admit"
)

// note logs what a machine reports, and puts it on the machine's timeline.
func (s *Service) note(e protocol.Event) {
	s.log.Info("machine reports", zap.String("kind", e.Kind), zap.String("name", e.Name), zap.String("mac", e.MAC),
		zap.String("peer", e.Remote), zap.String("content", e.Content), zap.String("note", e.Message),
		zap.Int("blocks", e.Blocks), zap.Int("total", e.Total))
	s.recordReport(e)
}

// record adds an event to the timeline of the machine with that MAC.
func (s *Service) record(e event.Event) {
	if s.cfg.Timeline == nil {
		return
	}
	if mac, err := deploy.ParseMAC(e.MAC); err == nil {
		e.MAC = mac
	} else {
		e.MAC = "" // a receiver that a person started
	}
	if s.cfg.Devices != nil && e.UUID == "" && e.MAC != "" {
		if one, err := s.cfg.Devices.Find(e.MAC); err == nil {
			e.UUID = one.UUID
		}
	}
	s.cfg.Timeline.Record(e)
}

// kindOf sorts what an agent reports into the kinds of events.
func kindOf(report string) (kind event.Kind, trouble bool) {
	switch report {
	case "started", "waiting", "booted":
		return event.KindBoot, false
	case "joined", "unicast", "left":
		return event.KindJoin, false
	case "progress":
		return event.KindProgress, false
	case "failed", "error":
		return event.KindError, true
	}
	return event.KindStep, false
}

// recordReport is what an agent says, as an event.
func (s *Service) recordReport(r protocol.Event) {
	kind, trouble := kindOf(r.Kind)
	message := r.Kind
	if r.Message != "" {
		message += ": " + r.Message
	}
	if r.Total > 0 {
		message += fmt.Sprintf(" (%d of %d blocks)", r.Blocks, r.Total)
	}
	s.record(event.Event{
		Time: r.Time, MAC: r.MAC, Kind: kind, Trouble: trouble, Message: message,
		Details: event.Details{Remote: r.Remote, Content: r.Content, Blocks: r.Blocks, Total: r.Total, Rate: r.Rate, Seconds: r.Seconds},
	})
}

func (s *Service) recordJoin(t admit.Ticket, adm *multicast.Admission, remote netip.Addr, what string) {
	s.record(event.Event{
		MAC: t.MAC, Kind: event.KindJoin,
		Message: fmt.Sprintf("%s the session of %s as member %d (%s)", what, t.Content, adm.Member.ID, t.Name),
		Details: event.Details{Remote: remote.String(), Content: t.Content},
	})
}

func (s *Service) recordLeave(t admit.Ticket, req multicast.LeaveRequest, remote netip.Addr) {
	e := event.Event{
		MAC: t.MAC, Kind: event.KindJoin, Message: "left the session of " + t.Content + " with everything",
		Details: event.Details{Remote: remote.String(), Content: t.Content},
	}
	if !req.Complete {
		e.Message, e.Trouble = "left the session of "+t.Content+" before its end: "+req.Reason, true
	}
	s.record(e)
}

// denied is why a machine that has booted gets nothing any more, "" for nothing.
func (s *Service) denied(mac string) string {
	addr, err := net.ParseMAC(mac)
	if s.cfg.Devices == nil || err != nil {
		return ""
	}
	record := s.cfg.Devices.Rule(boot.Client{MAC: addr}).Record
	if !record.Denied {
		return ""
	}
	return record.Silent
}
