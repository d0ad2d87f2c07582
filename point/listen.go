package point

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"castpoint/dhcp/dhcp4"
	"castpoint/internal/netio"
	"castpoint/point/host"
	"castpoint/point/settings"
	"castpoint/tftp"
	"castpoint/web/call"
)

// listenError lists all obstacles at once.
type listenError struct{ obstacles []host.Obstacle }

func (e *listenError) Error() string {
	lines := []string{"cannot serve, and nothing was left listening:"}
	for _, o := range e.obstacles {
		line := "  " + o.What + ": " + o.Why
		if o.Out != "" {
			line += "; " + o.Out
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// listen binds everything, or nothing and says all that stands in the way.
func (p *point) listen(ctx context.Context) error {
	var e listenError
	given, err := host.InheritSockets()
	if err != nil {
		return err
	}
	defer given.Close()
	if err := p.dhcp.Listen(); err != nil {
		e.obstacles = append(e.obstacles, dhcpObstacles(err)...)
	}
	if p.queriers, err = netio.ListenQueriers(); err != nil {
		// castpoint doctor says so; nothing that machines need.
		p.log.Info("igmp queriers are not heard", zap.Error(err))
		p.queriers = nil
	}
	if p.tftp != nil {
		err := p.tftp.Listen(p.tftpEndpoints(given)...)
		if err != nil {
			e.obstacles = append(e.obstacles, host.Obstruct("TFTP", "udp", settings.TFTPPort, err, "--tftp=false serves without it (HTTP boot and iPXE ROMs only)"))
		}
	}
	for _, l := range []struct {
		what, setting, address string
		to                     *net.Listener
	}{
		{"boot HTTP", "http", p.cfg.HTTP, &p.http},
		{"boot HTTPS", "https", p.cfg.HTTPS, &p.https},
		{"join HTTPS", "join", p.cfg.Join, &p.join},
		{"admin HTTP", "admin", p.cfg.Admin, &p.admin},
	} {
		if l.address == "" {
			continue // switched off
		}
		if *l.to = given.Listener(l.address); *l.to != nil {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err != nil {
			port, _ := settings.PortOf(l.setting, l.address) // newPoint has checked it
			e.obstacles = append(e.obstacles, host.Obstruct(l.what, "tcp", port, err, "--"+l.setting+" chooses another port"))
			continue
		}
		*l.to = listener
	}
	e.obstacles = append(e.obstacles, given.Unused()...)
	if len(e.obstacles) == 0 {
		if p.socket, err = call.ListenSocket(ctx, p.cfg.Data); err != nil {
			e.obstacles = append(e.obstacles, host.Obstacle{What: "admin socket", Why: err.Error()})
		}
	}
	if len(e.obstacles) == 0 {
		return nil
	}
	p.close()
	return &e
}

// tftpEndpoints are the TFTP port on every interface, by IPv6 too when DHCPv6
// sends machines there, castpoint's or, with dhcp off, the network's.
func (p *point) tftpEndpoints(given *host.Inherited) []tftp.Endpoint {
	var all []tftp.Endpoint
	for _, l := range p.links {
		all = append(all, tftp.Endpoint{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), settings.TFTPPort), Device: l.Name})
		if p.cfg.DHCP6 || p.cfg.DHCP == string(dhcp4.ModeOff) && l.HasIPv6() {
			all = append(all, tftp.Endpoint{Address: netip.AddrPortFrom(netip.IPv6Unspecified(), settings.TFTPPort), Device: l.Name})
		}
	}
	for i := range all {
		all[i].Conn = given.Packets(all[i].Address, all[i].Device)
	}
	return all
}

// dhcpObstacles looks which of the two ports of DHCP is taken: the server names
// the first only.
func dhcpObstacles(err error) []host.Obstacle {
	const out = "stop it, share the port with --share (proxy only), or use --dhcp off and let that server name castpoint as the boot server"
	var list []host.Obstacle
	if errors.Is(err, syscall.EADDRINUSE) {
		for _, port := range []uint16{dhcp4.PortServer, dhcp4.PortProxy} {
			if who := host.Holders("udp", port); len(who) > 0 {
				list = append(list, host.Obstruct("DHCP", "udp", port, err, out))
			}
		}
	}
	if len(list) == 0 {
		list = append(list, host.Obstacle{What: "DHCP", Why: err.Error()})
	}
	return list
}
