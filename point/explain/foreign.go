package explain

import (
	"bytes"
	"net/http"
	"net/netip"
	"slices"

	"castpoint/dhcp/external"
	"castpoint/web/api"
)

// Products are the DHCP servers that settings are written for.
func Products() []string {
	return []string{external.ProductKea, external.ProductDnsmasq, external.ProductWindows}
}

// ForeignSettings are the settings of another DHCP server.
type ForeignSettings struct {
	Product string `json:"product"`
	Server  string `json:"server"` // this server's address in them
	Text    string `json:"text"`
	// Missing names the kinds of firmware that are not served, with the reason.
	Missing map[string]string `json:"missing,omitempty"`
}

func (e *Explainer) settings(product, server string) (*ForeignSettings, error) {
	if !slices.Contains(Products(), product) {
		return nil, api.Problem(http.StatusBadRequest, "", "no settings for %q: known are %v", product, Products())
	}
	addr := e.cfg.Links[0].Address
	if server != "" {
		var err error
		if addr, err = netip.ParseAddr(server); err != nil {
			return nil, api.Problem(http.StatusBadRequest, "", "server %q: want an address", server)
		}
	}
	all := external.Settings(e.parts.Planner.General(), addr)
	var b bytes.Buffer
	if err := external.Write(&b, product, all); err != nil {
		return nil, err
	}
	f := &ForeignSettings{Product: product, Server: addr.String(), Text: b.String(), Missing: map[string]string{}}
	for _, s := range all {
		if s.Missing != "" {
			f.Missing[s.Name] = s.Missing
		}
	}
	return f, nil
}
