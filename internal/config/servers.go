package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Limits that settings share.
const (
	maxCount = 1 << 20
	maxTime  = 24 * time.Hour
)

// checkTFTP checks what concerns the TFTP server.
func (c *Config) checkTFTP() error {
	if err := within(
		number("tftp-block-size", c.TFTPBlockSize, 8, 65464),
		number("tftp-window", c.TFTPWindow, 1, 1024),
		number("tftp-transfers", c.TFTPTransfers, -1, maxCount),
		number("tftp-client-transfers", c.TFTPClientTransfers, -1, maxCount),
		duration("tftp-idle", c.TFTPIdle, time.Second, maxTime),
		limit{name: "tftp-upload-size", value: c.TFTPUploadSize, min: 1, max: 1 << 40},
	); err != nil {
		return err
	}
	if _, _, err := c.TFTPPortRange(); err != nil {
		return err
	}
	// Below that clients give up: a block takes longer than they wait.
	const leastRate = 65536
	for name, r := range map[string]Rate{"tftp-rate": c.TFTPRate, "tftp-client-rate": c.TFTPClientRate} {
		if r != 0 && r < leastRate {
			return fmt.Errorf("%s %s: want at least 65536bit, or 0 for no limit", name, r)
		}
	}
	if c.TFTPSinglePort && c.TFTPPorts != "" {
		return errors.New("tftp-ports has no meaning with tftp-single-port")
	}
	if c.TFTPUploadSize != 0 && c.TFTPUpload == "" {
		return errors.New("tftp-upload-size needs tftp-upload")
	}
	return nil
}

// TFTPPortRange is TFTPPorts, parsed; both 0 when it is not set.
func (c *Config) TFTPPortRange() (from, to uint16, err error) {
	return portRange("tftp-ports", c.TFTPPorts)
}

// checkHTTP checks what concerns the boot listeners. The address itself is
// checked when it is listened on.
func (c *Config) checkHTTP() error {
	if err := within(
		number("http-conns", c.HTTPConns, -1, maxCount),
		number("http-client-conns", c.HTTPClientConns, -1, maxCount),
		duration("http-header", c.HTTPHeader, time.Second, maxTime),
		duration("http-idle", c.HTTPIdle, time.Second, maxTime),
		duration("http-stall", c.HTTPStall, time.Second, maxTime),
	); err != nil {
		return err
	}
	if (c.HTTPSCert == "") != (c.HTTPSKey == "") {
		return errors.New("https-cert and https-key: want both, or neither for castpoint's own CA")
	}
	if c.HTTPS == "" && (c.HTTPSCert != "" || len(c.HTTPSName) > 0) {
		return errors.New("https-cert, https-key and https-name need https, the address to listen on")
	}
	if c.HTTPSCert != "" && len(c.HTTPSName) > 0 {
		return errors.New("https-name: the names are in https-cert already")
	}
	for _, n := range c.HTTPSName {
		if n == "" || strings.ContainsAny(n, " /:") && net.ParseIP(n) == nil {
			return fmt.Errorf("https-name %q: want a host name or an address", n)
		}
	}
	return nil
}

// checkSessions checks what concerns multicast sessions.
func (c *Config) checkSessions() error {
	if c.MinMembers < 0 || c.MaxMembers < 0 || c.MaxWait < 0 {
		return errors.New("min-members, max-members and max-wait cannot be negative")
	}
	if c.MaxMembers > 0 && c.MinMembers > c.MaxMembers {
		return fmt.Errorf("min-members %d: a session has room for %d (max-members)", c.MinMembers, c.MaxMembers)
	}
	if c.MinRate < 0 || c.Rate > 0 && c.MinRate > c.Rate {
		return fmt.Errorf("min-rate %s: want at most the rate of a session, %s", c.MinRate, c.Rate)
	}
	if err := within(
		number("ttl", c.TTL, 1, 255),
		duration("linger", c.Linger, time.Second, maxTime),
	); err != nil {
		return err
	}
	// A session needs some 2 Mbit/s to keep its members' reports alive.
	if c.TotalRate != 0 && c.TotalRate < leastSessionRate {
		return fmt.Errorf("total-rate %s: want at least %s, or 0 for no cap", c.TotalRate, leastSessionRate)
	}
	if _, _, err := c.GroupRange(); err != nil {
		return err
	}
	_, _, err := c.SessionPortRange()
	return err
}

const leastSessionRate Rate = 2e6

// maxGroups bounds the search for a free group.
const maxGroups = 4096

// GroupRange is Groups, parsed: the first address and how many; 0 when it is not
// set.
func (c *Config) GroupRange() (first netip.Addr, count int, err error) {
	if c.Groups == "" {
		return first, 0, nil
	}
	text := c.Groups
	if !strings.Contains(text, "-") {
		text += "-" + text
	}
	first, last, err := addressRange(text)
	if err != nil || !first.IsMulticast() || !last.IsMulticast() {
		return first, 0, fmt.Errorf("groups %q: want FROM-TO, multicast addresses as in 239.192.67.1-239.192.67.254", c.Groups)
	}
	for a := first; ; a = a.Next() {
		if count++; a == last {
			return first, count, nil
		}
		if count == maxGroups {
			return first, 0, fmt.Errorf("groups %q: want at most %s addresses", c.Groups, strconv.Itoa(maxGroups))
		}
	}
}

// SessionPortRange is SessionPorts, parsed; both 0 when it is not set.
func (c *Config) SessionPortRange() (from, to uint16, err error) {
	return portRange("session-ports", c.SessionPorts)
}
