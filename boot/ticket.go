package boot

import "context"

// Ticket is what a boot environment needs to find this server and to prove
// that it was booted by it.
type Ticket struct {
	Server string // base URL of the join endpoint, as in https://192.0.2.1:8443
	Pin    string // hash of the server's certificate, as in sha256:HEX
	Token  string // for one use, by this device, for a short time
}

// TicketFunc makes the ticket of a device. Its error is for a person: the text
// must say what to do.
type TicketFunc = func(context.Context, Client) (Ticket, error)
