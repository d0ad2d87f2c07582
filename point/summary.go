package point

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"castpoint/agent"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/dhcp/dhcp4"
	"castpoint/point/settings"
)

// Summary says what is served, what machines will get, and what to do next.
type Summary struct {
	Title    string
	Sections []Section
}

// Section is a part of a summary: its title, and rows of cells.
type Section struct {
	Title string
	Rows  [][]string
}

func (p *point) summary() (*Summary, error) {
	contents, err := p.library.List()
	if err != nil {
		return nil, err
	}
	var links []string
	for _, l := range p.links {
		links = append(links, fmt.Sprintf("%s (%s)", l.Name, l.Address))
	}
	return &Summary{
		Title: fmt.Sprintf("castpoint %s serves %s, data in %s", p.build.Version, strings.Join(links, ", "), p.cfg.Data),
		Sections: []Section{
			{"Listening", p.listening()},
			{"Answers to machines", p.answers()},
			{"Content", p.contentRows(contents)},
			{"Next", p.next(contents)},
		},
	}, nil
}

// at is a listener's address as machines reach it.
func (p *point) at(l net.Listener) string {
	ap, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ap.Addr().IsUnspecified() {
		ap = netip.AddrPortFrom(p.links[0].Address, ap.Port())
	}
	return ap.String()
}

func (p *point) listening() [][]string {
	var rows [][]string
	switch dhcp4.Mode(p.cfg.DHCP) {
	case dhcp4.ModeProxy:
		rows = append(rows, []string{"ProxyDHCP", "UDP 67 and 4011", "answers netboot clients only, gives no addresses"})
	case dhcp4.ModeServer:
		rows = append(rows, []string{"DHCP", "UDP 67 and 4011", "gives " + strings.Join(p.cfg.Pool, ", ") + " to every client"})
	default:
		rows = append(rows, []string{"DHCP", "off", "your DHCP server names the boot files: castpoint dhcp settings kea, dnsmasq or windows prints how"})
	}
	if p.cfg.Share {
		rows[0][2] += ", beside the DHCP server of this host"
	}
	if p.cfg.DHCP6 {
		rows = append(rows, []string{"DHCPv6", "UDP 547 and 4011", ipv6Rows(p.cfg.Pool6)})
	}
	if p.tftp != nil {
		rows = append(rows, []string{"TFTP", "UDP " + strconv.Itoa(settings.TFTPPort), ""})
	} else {
		rows = append(rows, []string{"TFTP", "off", ""})
	}
	rows = append(rows, []string{"boot HTTP", "http://" + p.at(p.http), ""})
	if p.https != nil {
		note := "certificate " + p.cfg.HTTPSCert
		if p.cfg.HTTPSCert == "" {
			note = "machines have to trust " + filepath.Join(p.cfg.Data, fileBootCA)
		}
		rows = append(rows, []string{"boot HTTPS", "https://" + p.at(p.https), note})
	}
	return append(rows,
		[]string{"join", "https://" + p.at(p.join), "pin " + p.server.Identity().Pin.String()},
		p.adminRow())
}

// adminRow is the row of the admin listener: wider than loopback it has TLS.
func (p *point) adminRow() []string {
	if p.adminTLS == nil {
		return []string{"admin", "http://" + p.at(p.admin), "this host only"}
	}
	var notes []string
	if p.cfg.AdminIsLocal() {
		notes = append(notes, "this host only")
	}
	if p.cfg.AdminCert != "" {
		notes = append(notes, "certificate "+p.cfg.AdminCert)
	} else {
		notes = append(notes, "browsers have to trust "+filepath.Join(p.cfg.Data, fileBootCA))
	}
	return []string{"admin", "https://" + p.at(p.admin), strings.Join(notes, ", ")}
}

// ipv6Rows says what DHCPv6 does.
func ipv6Rows(pools []string) string {
	if len(pools) == 0 {
		return "answers netboot clients, addresses come from the router"
	}
	return "gives " + strings.Join(pools, ", ")
}

// firmwares are the kinds of firmware that people have.
var firmwares = []struct {
	name string
	arch boot.Arch
	http bool
}{
	{"BIOS", boot.ArchBIOS, false},
	{"UEFI x64", boot.ArchEFIX64, false},
	{"UEFI x64 HTTP", boot.ArchEFIX64HTTP, true},
	{"UEFI arm64", boot.ArchEFIARM64, false},
}

func (p *point) answers() [][]string {
	// In place of the machine's own, which is in the names of some files.
	anyMAC := net.HardwareAddr{2, 0, 0, 0, 0, 0}
	var rows [][]string
	for _, f := range firmwares {
		plan := p.force.now.Planner.General().Plan(boot.Client{
			MAC: anyMAC, Arch: f.arch, HasArch: true, PXE: !f.http, HTTPBoot: f.http, Interface: p.links[0].Name, Server: p.links[0].Address,
		})
		switch {
		case !plan.Serve:
			rows = append(rows, []string{f.name, "nothing: " + plan.Reason})
		case p.tftp == nil && !f.http:
			rows = append(rows, []string{f.name, "nothing: TFTP is off"})
		case plan.Local:
			rows = append(rows, []string{f.name, "its own disk"})
		default:
			rows = append(rows, []string{f.name, strings.ReplaceAll(plan.File, boot.DeviceName(boot.Client{MAC: anyMAC}), "MAC")})
		}
	}
	return rows
}

func (p *point) contentRows(contents []*content.Content) [][]string {
	if len(contents) == 0 {
		return [][]string{{"none"}}
	}
	var rows [][]string
	for _, c := range contents {
		note := ""
		if c.Distribution.Multicast {
			note = "multicast"
		}
		if c.ID == p.cfg.Assign {
			note += ", every machine that netboots receives it"
			if p.cfg.Target != "" {
				note += " on " + p.cfg.Target
			}
		}
		rows = append(rows, []string{c.ID, string(c.Kind), cmp.Or(c.Arch, "-"), agent.Size(c.Size()), strings.TrimPrefix(note, ", ")})
	}
	return rows
}

// next is what is still missing, or how to go on.
func (p *point) next(contents []*content.Content) [][]string {
	var boots, images []*content.Content
	for _, c := range contents {
		switch c.Kind {
		case content.KindBootImage:
			boots = append(boots, c)
		case content.KindOSImage:
			images = append(images, c)
		}
	}
	var rows [][]string
	if len(boots) == 0 {
		rows = append(rows, []string{"make a boot image:", "castpoint bootenv build --out bootenv"},
			[]string{"", "castpoint content add boot-image --kernel bootenv/vmlinuz --initrd bootenv/initrd --arch amd64 --name linux"})
	}
	switch {
	case len(images) == 0:
		rows = append(rows, []string{"add an image:", "castpoint content add os-image install.wim --multicast"})
	case p.cfg.Assign == "":
		rows = append(rows, []string{"admit a receiver:", "castpoint token create --content " + images[0].ID},
			[]string{"or give it to machines:", "castpoint serve --assign " + images[0].ID + " (nothing is assigned, so they boot, say so, and wait)"})
	default:
		rows = append(rows, []string{"switch machines on, then:", "castpoint session list"})
	}
	return rows
}
