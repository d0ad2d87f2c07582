package admin

import (
	"context"
	"net/http"
	"time"

	"castpoint/deploy"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/upload"
)

func (s *operations) statusOperations(a *api.API) {
	api.Answer(a, api.Operation{
		ID: "get-status", Method: http.MethodGet, Path: "/status", Scope: access.Read, Tag: "server",
		Summary: "What the server says about itself",
		About:   "What it serves, what it has seen on the network, and what is wrong with the library.",
	}, s.getStatus)
}

// Status is what a server says about itself.
type Status struct {
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Data     string    `json:"data"`
	Join     string    `json:"join,omitempty"` // URL; "" when no server is running
	Pin      string    `json:"pin"`
	Assigned string    `json:"assigned,omitempty"` // content that machines receive
	Contents int       `json:"contents"`
	// Damaged are the ids of contents that the last validation found damaged.
	Damaged []string `json:"damaged,omitempty"`
	// Problems are what the library could not use when it was opened.
	Problems []string `json:"problems,omitempty"`
	Sessions int      `json:"sessions"` // running
	// Uploads are files that are on their way into the library.
	Uploads []upload.Info `json:"uploads,omitempty"`
	Network *Network      `json:"network,omitempty"`
	// Devices on record, by state; those waiting for approval among them.
	Devices map[deploy.State]int `json:"devices,omitempty"`
	// EventsLost counts events that came too fast to be kept.
	EventsLost uint64 `json:"events_lost,omitempty"`
}

// Network is what a server sees of its network; nil in a Status when no server
// is running.
type Network struct {
	Interfaces []string `json:"interfaces"` // with addresses, as in "eth1 192.0.2.1"
	DHCP       string   `json:"dhcp"`       // proxy, server or off
	DHCP6      bool     `json:"dhcp6,omitempty"`
	Leases     int      `json:"leases,omitempty"`
	// Requests and Answered count DHCP packets since the server started.
	Requests uint64 `json:"requests"`
	Answered uint64 `json:"answered"`
	Ports    []Port `json:"ports,omitempty"` // that it listens on
	// Malformed were no DHCP, Limited came from machines that asked too often,
	// Dropped found the queues full.
	Malformed uint64 `json:"malformed,omitempty"`
	Limited   uint64 `json:"limited,omitempty"`
	Dropped   uint64 `json:"dropped,omitempty"`
	// Others are DHCP and PXE servers beside this one.
	Others []OtherServer `json:"others,omitempty"`
	// TimeServers are those that other DHCP servers tell machines of.
	TimeServers []string `json:"time_servers,omitempty" doc:"that other DHCP servers tell machines of"`
	// Queriers are the IGMP queriers that were heard, one for each interface.
	Queriers []Querier `json:"queriers,omitempty" doc:"IGMP queriers, one for each interface; none when the server may not listen"`
}

// Querier is what was heard of IGMP queriers on an interface.
type Querier struct {
	Interface string    `json:"interface"`
	Address   string    `json:"address" doc:"empty when none was heard; 0.0.0.0 of a switch without an address"`
	Heard     time.Time `json:"heard,omitzero" doc:"when, the last time"`
}

// Port is a port, or a range of them, that a server listens on.
type Port struct {
	Proto string `json:"proto"` // udp or tcp
	Port  uint16 `json:"port"`
	Last  uint16 `json:"last,omitempty"` // of a range
	What  string `json:"what"`
	Reply bool   `json:"reply,omitempty"` // only answers to what was sent from there come in
}

// OtherServer is a server that was seen on a segment.
type OtherServer struct {
	Interface string `json:"interface"`
	Address   string `json:"address"`
	What      string `json:"what"` // "DHCP server" or "PXE server"
	// Trouble says that it gets in this server's way.
	Trouble string `json:"trouble,omitempty"`
}

func (s *operations) getStatus(context.Context, *struct{}) (*Status, error) {
	contents, err := s.library.List()
	if err != nil {
		return nil, api.ContentProblem(err)
	}
	st := &Status{
		Version: s.cfg.Version, Started: s.started.UTC(), Data: s.cfg.Data, Join: s.cfg.URL,
		Pin: s.join.Pin(), Assigned: s.join.Assigned(), Contents: len(contents), Uploads: s.uploads.Now(),
	}
	for _, ct := range contents {
		if ct.Checked != nil && ct.Checked.Problem != "" {
			st.Damaged = append(st.Damaged, ct.ID)
		}
	}
	for _, p := range s.library.Problems() {
		st.Problems = append(st.Problems, p.String())
	}
	if s.cfg.Devices != nil {
		st.Devices = s.cfg.Devices.Count()
	}
	if s.cfg.Timeline != nil {
		st.EventsLost = s.cfg.Timeline.Dropped()
	}
	if s.cfg.Network != nil {
		st.Network = s.cfg.Network()
	}
	if s.keeper != nil {
		for _, info := range s.keeper.List() {
			if info.Ended == nil {
				st.Sessions++
			}
		}
	}
	return st, nil
}
