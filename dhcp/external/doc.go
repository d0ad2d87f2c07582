// Package external writes the settings with which the network's own DHCP server
// sends machines to castpoint: for Kea, dnsmasq and Windows Server, IPv4 and IPv6.
package external
