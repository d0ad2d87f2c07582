package logging

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"castpoint/boot"
	"castpoint/point/witness"
)

// followed adds to each record of the log that names a machine in some way, by its MAC,
// its UUID or the address that it has, its other names: so a machine can be followed by
// the id of its record through all rooms, of which only some know records.
type followed struct {
	zapcore.Core
	whois *atomic.Pointer[witness.Whois] // nil inside until somebody is known
	with  []zapcore.Field                // of the logger
}

// Follow makes a logger that knows machines by w, once that is set.
func Follow(log *zap.Logger, w *atomic.Pointer[witness.Whois]) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return &followed{Core: c, whois: w} }))
}

func (f *followed) With(fields []zapcore.Field) zapcore.Core {
	return &followed{f.Core.With(fields), f.whois, append(f.with[:len(f.with):len(f.with)], fields...)}
}

func (f *followed) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if f.Core.Check(e, nil) == nil {
		return ce
	}
	return ce.AddCore(e, f)
}

func (f *followed) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if w := f.whois.Load(); w != nil {
		fields = append(fields[:len(fields):len(fields)], names(w, e.LoggerName, f.with, fields)...)
	}
	return f.Core.Write(e, fields)
}

// names are the fields that a record lacks.
func names(w *witness.Whois, logger string, groups ...[]zapcore.Field) (more []zapcore.Field) {
	var mac, uuid string
	var peer netip.Addr
	for _, fields := range groups {
		for _, f := range fields {
			switch c, isClient := f.Interface.(boot.Client); {
			case f.Key == "device":
				return nil
			case f.Key == "mac":
				mac = f.String
			case f.Key == "name" && mac == "":
				// Members of sessions are named after their machines.
				if hw, err := net.ParseMAC(f.String); err == nil {
					mac = hw.String()
				}
			case f.Key == "uuid":
				uuid = f.String
			case f.Key == "peer":
				peer = peerOf(f)
			case isClient && f.Type == zapcore.InlineMarshalerType:
				mac, uuid = c.MAC.String(), c.UUID
			}
		}
	}
	// People's machines are no machines to be followed.
	if mac == "" && uuid == "" && peer.IsValid() && logger != "admin" && logger != "access" && logger != "console" {
		if mac, uuid = w.At(peer); mac != "" {
			more = append(more, zap.String("mac", mac))
		}
	}
	if id := w.Device(mac, uuid); id != "" {
		more = append(more, zap.String("device", id))
	}
	return more
}

// peerOf reads an address, with or without port.
func peerOf(f zapcore.Field) netip.Addr {
	text := f.String
	if s, ok := f.Interface.(fmt.Stringer); ok && f.Type == zapcore.StringerType {
		text = s.String()
	}
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr()
	}
	a, _ := netip.ParseAddr(text) // invalid when it is none
	return a
}
