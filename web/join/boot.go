package join

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"castpoint/boot"
	"castpoint/deploy/collection"
	"castpoint/web/admit"
)

// bootTokenLife is how long a machine that has booted can wait for its content
// to be assigned.
const bootTokenLife = 24 * time.Hour

// BootToken makes what a boot environment needs to find and trust this server:
// a token that its machine alone may use, good for whatever is assigned when it
// is used.
func (s *Service) BootToken(_ context.Context, c boot.Client) (boot.Ticket, error) {
	base := s.joinAt(c.Server)
	if base == "" {
		return boot.Ticket{}, errors.New("this server has no join address")
	}
	want := admit.Token{Boot: true, MAC: c.MAC.String(), UUID: c.UUID, Name: boot.DeviceName(c)}
	if c.HasArch {
		want.Arch, want.Firm = collection.ArchOf(c.Arch)
	}
	if s.cfg.Devices != nil {
		record := s.cfg.Devices.Rule(c).Record
		switch {
		case record.Silent != "":
			return boot.Ticket{}, errors.New(record.Silent)
		case record.Waiting:
			return boot.Ticket{}, errors.New("this machine waits for approval: castpoint device approve " + boot.DeviceName(c))
		case record.Name != "":
			want.Name = record.Name
		}
	}
	secret, _, err := s.tokens.Create(want, bootTokenLife)
	if err != nil {
		return boot.Ticket{}, err
	}
	return boot.Ticket{Server: base, Pin: s.Pin(), Token: secret}, nil
}

// joinAt is the URL of the join listener at an address of this server that a machine
// has reached already; "" without a network.
func (s *Service) joinAt(addr netip.Addr) string {
	base, err := url.Parse(s.cfg.URL)
	if err != nil || base.Host == "" {
		return ""
	}
	if addr.IsValid() && !addr.IsUnspecified() {
		port := base.Port()
		if port == "" {
			port = strconv.Itoa(DefaultPort)
		}
		base.Host = net.JoinHostPort(addr.Unmap().String(), port)
	}
	return base.String()
}

// joinURL is the URL of the join listener as a machine has reached it.
func (s *Service) joinURL(r *http.Request) string { return s.joinAt(localAddr(r)) }
