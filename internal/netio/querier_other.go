//go:build !linux

package netio

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Querier is who asked on an interface for all groups, and when.
type Querier struct {
	Interface string
	Address   netip.Addr
	Heard     time.Time
}

// Queriers hears nothing on this system.
type Queriers struct{}

// ListenQueriers is not possible on this system.
func ListenQueriers() (*Queriers, error) {
	return nil, errors.New("IGMP queries cannot be heard on this system")
}

// Serve ends with ctx.
func (q *Queriers) Serve(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Heard knows of none.
func (q *Queriers) Heard(string) (last Querier, ok bool) { return Querier{}, false }

// Close has nothing to give up.
func (q *Queriers) Close() error { return nil }
