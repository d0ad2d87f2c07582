package settings

import (
	"net"
	"strconv"

	"castpoint/agent/command"
	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/web/session"
)

// TFTPPort is the port of RFC 1350.
const TFTPPort = 69

// PortOf is the port of a listener's address.
func PortOf(setting, address string) (uint16, error) {
	_, port, err := net.SplitHostPort(address)
	n, parseErr := strconv.ParseUint(port, 10, 16)
	if err != nil || parseErr != nil || n == 0 {
		return 0, command.Usage("%s %q: want [ADDRESS]:PORT, as in :8080", setting, address)
	}
	return uint16(n), nil
}

// Ports are those that a server with these settings listens on.
func Ports(cfg *config.Config) (all []doctor.Port) {
	if cfg.DHCP != "off" {
		all = append(all, doctor.Port{Proto: "udp", Port: 67, What: "DHCP"}, doctor.Port{Proto: "udp", Port: 4011, What: "PXE boot server"})
	}
	if cfg.DHCP6 {
		all = append(all, doctor.Port{Proto: "udp", Port: 547, What: "DHCPv6"})
	}
	if cfg.TFTP {
		all = append(all, doctor.Port{Proto: "udp", Port: TFTPPort, What: "TFTP requests"})
		if from, to, err := cfg.TFTPPortRange(); err == nil && from != 0 {
			all = append(all, doctor.Port{Proto: "udp", Port: from, Last: to, What: "TFTP transfers", Reply: true})
		} else if !cfg.TFTPSinglePort {
			// Where Linux takes the ports of sockets from by default.
			all = append(all, doctor.Port{Proto: "udp", Port: 32768, Last: 60999, What: "TFTP transfers", Reply: true})
		}
	}
	for _, l := range []struct{ address, what string }{{cfg.HTTP, "boot files by HTTP"}, {cfg.HTTPS, "boot files by HTTPS"}, {cfg.Join, "receivers join"}} {
		if n, err := PortOf("", l.address); err == nil {
			all = append(all, doctor.Port{Proto: "tcp", Port: n, What: l.what})
		}
	}
	if from, to, err := cfg.SessionPortRange(); err == nil {
		if from == 0 {
			from, to = session.DefaultFirstPort, session.DefaultFirstPort+session.DefaultPorts-1
		}
		all = append(all, doctor.Port{Proto: "udp", Port: from, Last: to, What: "reports of receivers"})
	}
	return all
}
