package dhcp

import (
	"net/netip"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Event is one decision: what was asked, and what was answered or why nothing
// was.
type Event struct {
	Time   time.Time
	Client boot.Client
	Port   uint16 // PortServer or PortProxy, of IPv4 or IPv6
	Asked  string // DISCOVER, REQUEST, SOLICIT, ...
	// Answer is OFFER, ACK, NAK, ADVERTISE or REPLY; "" when castpoint stayed silent.
	Answer string
	// Reason says why: the plan's reason when the answer carries boot data, the
	// reason for silence, or the reason of a NAK.
	Reason  string
	File    string     // boot file answered, "" for none
	Address netip.Addr // address given, invalid for none
	To      string     // where the answer went
	Quirk   string     // row of the quirk table that chose the style
}

// Stats counts what a Server has seen since it was made.
type Stats struct {
	Received  uint64 // packets read
	Malformed uint64 // not DHCP, or no request
	Limited   uint64 // over the client's rate
	Dropped   uint64 // queue full
	Silent    uint64 // understood and not answered
	Answered  uint64
	Failed    uint64 // answer could not be sent
	Unprobed  uint64 // addresses offered without the probe, too many being under way
}

func (s *Server) report(e Event) {
	level := zapcore.InfoLevel
	// An address that somebody else uses, and a pool that is empty, are the
	// administrator's business whoever asks; other silences towards machines that
	// do not netboot are not.
	matters := e.Address.IsValid() || e.Asked == dhcpv4.MessageTypeDecline.String() ||
		s.config.Mode == dhcp4.ModeServer && e.Asked == dhcpv4.MessageTypeDiscover.String()
	if e.Answer == "" && !dhcp4.Netboots(e.Client) && !matters {
		level = zapcore.DebugLevel
	}
	var checked *zapcore.CheckedEntry
	if e.Answer == "" {
		checked = s.log.Check(level, "dhcp request not answered")
	} else {
		checked = s.log.Check(level, "dhcp request answered")
	}
	if checked != nil {
		fields := []zap.Field{
			zap.Inline(e.Client), zap.String("interface", e.Client.Interface),
			zap.Uint16("port", e.Port), zap.String("asked", e.Asked), zap.String("reason", e.Reason),
		}
		for _, f := range []zap.Field{
			zap.String("answer", e.Answer), zap.String("file", e.File),
			zap.String("to", e.To), zap.String("quirk", e.Quirk),
		} {
			if f.String != "" {
				fields = append(fields, f)
			}
		}
		if e.Address.IsValid() {
			fields = append(fields, zap.Stringer("address", e.Address))
		}
		checked.Write(fields...)
	}
	if s.config.Observer != nil {
		s.config.Observer(e)
	}
}

func typeName(t dhcpv4.MessageType) string {
	if t == dhcpv4.MessageTypeNone {
		return ""
	}
	return t.String()
}
