package point

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"castpoint/content/library"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/lease"
	"castpoint/web/access"
	"castpoint/web/api"
)

// currentLeases are the addresses that are given away, in order.
func (p *point) currentLeases() ([]lease.Lease, error) {
	if dhcp4.Mode(p.cfg.DHCP) != dhcp4.ModeServer {
		return nil, api.Problem(http.StatusConflict, "--dhcp server does", "this server runs with --dhcp %s and gives no addresses", p.cfg.DHCP)
	}
	return p.leases(), nil
}

// leasesOperation lists what get gives.
func leasesOperation(get func() ([]lease.Lease, error)) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "list-leases", Method: http.MethodGet, Path: "/dhcp/leases", Scope: access.Read, Tag: "dhcp",
			Summary: "List the addresses that are given away",
			About:   "In the order of the addresses, IPv4 first. Refused when the server gives no addresses (setting dhcp).",
			Errors:  []int{http.StatusConflict},
		}, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[lease.Lease], error) {
			all, err := get()
			if err != nil {
				return api.Page[lease.Lease]{}, err
			}
			return api.Cut(all, leaseKey, in.PageQuery), nil
		})
	}
}

// leaseKey is where a lease stands in the list: addresses as numbers, IPv4 first.
func leaseKey(l *lease.Lease) string {
	b := l.Address.AsSlice()
	return fmt.Sprintf("%02d%x", len(b), b)
}

func (p *point) leases() []lease.Lease {
	now, all := time.Now(), []lease.Lease{}
	if l := p.dhcp.Leases(); l != nil {
		all = append(all, l.Current(now)...)
	}
	if l := p.dhcp.Leases6(); l != nil {
		for _, six := range l.Current(now) {
			all = append(all, lease.Lease{Address: six.Address, Key: six.Key, MAC: six.MAC, UUID: six.UUID, Expires: six.Expires, Declined: six.Declined})
		}
	}
	sortLeases(all)
	return all
}

func sortLeases(all []lease.Lease) {
	slices.SortFunc(all, func(a, b lease.Lease) int { return a.Address.Compare(b.Address) })
}

// storedLeases are those in the data folder of a server that does not run.
func storedLeases(data string) (all []lease.Lease, err error) {
	j, err := lease.OpenJournal(filepath.Join(data, fileLeases))
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := j.Close(); err == nil {
			err = closeErr
		}
	}()
	stored, err := j.Load()
	if err != nil {
		return nil, err
	}
	all = []lease.Lease{}
	for _, l := range stored {
		if !l.Declined && l.Expires.After(time.Now()) {
			all = append(all, l)
		}
	}
	sortLeases(all)
	return all, nil
}

// LocalLeases answers with the addresses that the data folder remembers. The library is
// open then, and nobody writes the journal.
func LocalLeases(data string) LocalRoutes {
	return func(*library.Library, *records, Build) ([]func(*api.API), error) {
		return []func(*api.API){leasesOperation(func() ([]lease.Lease, error) { return storedLeases(data) })}, nil
	}
}
