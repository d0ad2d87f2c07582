// Package socket hears and sends the UDP packets of DHCP on one interface: by sockets
// that are bound to it, by taps beside the server that has the port, and by frames for
// clients that have no address yet. It asks by ARP who has an address, and knows nothing
// of DHCP itself.
package socket
