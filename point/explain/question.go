package explain

import (
	"fmt"
	"net"
	"net/http"
	"strings"

	"castpoint/boot"
	"castpoint/point/host"
	"castpoint/point/witness"
	"castpoint/web/api"
)

// Question asks what a machine would get.
type Question struct {
	MAC       string `json:"mac,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	Arch      uint16 `json:"arch"` // number of option 93
	Interface string `json:"interface,omitempty"`
	IPXE      bool   `json:"ipxe,omitempty"`
	HTTP      bool   `json:"http,omitempty"` // UEFI HTTP boot
	// Known asks for any machine that may boot, whatever lists and records say of this one.
	Known bool `json:"known,omitempty" doc:"as for a machine that may boot, whatever lists and records say of this one"`
}

// Explanation is what the machine would get, and why.
type Explanation struct {
	Client    string `json:"client"`
	Interface string `json:"interface"`
	Server    string `json:"server"`
	DHCP      string `json:"dhcp"` // proxy, server or off

	// Rules are the rules that were gone through, in order.
	Rules    []Rule `json:"rules"`
	Device   string `json:"device,omitempty"`  // id of its record
	Waiting  bool   `json:"waiting,omitempty"` // for approval, with a script that says so
	Answered bool   `json:"answered"`
	Reason   string `json:"reason"`
	Quirk    string `json:"quirk,omitempty"` // row of the firmware table
	Style    string `json:"style,omitempty"` // of ProxyDHCP
	Evidence string `json:"evidence,omitempty"`
	Menu     bool   `json:"menu,omitempty"` // its firmware shows a menu
	Address  string `json:"address,omitempty"`
	File     string `json:"file,omitempty"`
	Next     string `json:"next_server,omitempty"`
	BCD      string `json:"bcd,omitempty"`

	Chain     string `json:"chain,omitempty"` // windows (Microsoft's own), ipxe, grub or local
	Image     string `json:"image,omitempty"` // id of the boot image
	ImageName string `json:"image_name,omitempty"`
	Assigned  string `json:"assigned,omitempty"` // content that it receives then
	Target    string `json:"target,omitempty"`
	// Deployments are those that it runs, or from which a person there chooses.
	Deployments []string `json:"deployments,omitempty"`
	Script      string   `json:"script,omitempty"` // for iPXE; the token is left out

	Lately []witness.Decision `json:"lately,omitempty"` // what was answered to it, oldest first
}

// Rule is one of the rules that decide about a machine.
type Rule struct {
	Name string `json:"name"` // lists, record, deployments, firmware, plan
	Says string `json:"says"`
}

// client is the machine that a question is about, as its firmware would ask.
func (e *Explainer) client(q Question) (boot.Client, error) {
	l := e.cfg.Links[0]
	if q.Interface != "" {
		found := false
		for _, other := range e.cfg.Links {
			if other.Name == q.Interface {
				l, found = other, true
			}
		}
		if !found {
			return boot.Client{}, api.Problem(http.StatusBadRequest, "it serves "+strings.Join(host.LinkNames(e.cfg.Links), ", "), "this server does not serve interface %q", q.Interface)
		}
	}
	c := boot.Client{
		UUID: strings.ToLower(q.UUID), Arch: boot.Arch(q.Arch), HasArch: true, IPXE: q.IPXE, HTTPBoot: q.HTTP, PXE: !q.HTTP,
		Interface: l.Name, Server: l.Address,
	}
	class := "PXEClient"
	if q.HTTP {
		class = "HTTPClient"
	}
	c.VendorClass = fmt.Sprintf("%s:Arch:%05d:UNDI:003000", class, q.Arch)
	if q.IPXE {
		c.UserClass = "iPXE"
	}
	if q.MAC != "" {
		var err error
		if c.MAC, err = net.ParseMAC(q.MAC); err != nil || len(c.MAC) != 6 {
			return boot.Client{}, api.Problem(http.StatusBadRequest, "", "MAC %q is not one, as in 52:54:00:12:34:56", q.MAC)
		}
	}
	return c, nil
}
