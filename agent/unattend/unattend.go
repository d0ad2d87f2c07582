// Package unattend writes the answer file that Windows reads at its first start,
// unattend.xml: name, key, locale, passwords, domain, addresses.
//
// Terms:
//
//   - a pass is a stage of Windows' setup that reads the file: specialize, when
//     the machine gets what makes it itself, and oobeSystem, before the first
//     person signs in;
//   - a component is a part of Windows with settings of its own in a pass.
//
// A document begins empty, or as the text of a template or of an earlier step;
// what is set replaces what was there, and everything else stays.
package unattend

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/beevik/etree"

	"castpoint/deploy/sequence"
)

// File is where Windows looks for it, below the volume of Windows.
const File = "Windows/Panther/unattend.xml"

// Passes and components.
const (
	passSpecialize = "specialize"
	passOOBE       = "oobeSystem"

	shellSetup    = "Microsoft-Windows-Shell-Setup"
	international = "Microsoft-Windows-International-Core"
	join          = "Microsoft-Windows-UnattendedJoin"
	tcpip         = "Microsoft-Windows-TCPIP"
	dnsClient     = "Microsoft-Windows-DNS-Client"
	deployment    = "Microsoft-Windows-Deployment"
)

const (
	nameSpace  = "urn:schemas-microsoft-com:unattend"
	wcmSpace   = "http://schemas.microsoft.com/WMIConfig/2002/State"
	publicKey  = "31bf3856ad364e35" // of Microsoft's components
	protectOff = "3"                // ProtectYourPC: express settings are off
)

// Document is an answer file.
type Document struct {
	xml  *etree.Document
	arch string // as Windows writes it
}

// New makes an empty document for an architecture: amd64, arm64 or x86.
func New(arch string) *Document {
	d := &Document{xml: etree.NewDocument(), arch: arch}
	d.xml.CreateProcInst("xml", `version="1.0" encoding="utf-8"`)
	root := d.xml.CreateElement("unattend")
	root.CreateAttr("xmlns", nameSpace)
	root.CreateAttr("xmlns:wcm", wcmSpace)
	return d
}

// Parse reads an answer file.
func Parse(text, arch string) (*Document, error) {
	d := &Document{xml: etree.NewDocument(), arch: arch}
	if err := d.xml.ReadFromString(strings.TrimPrefix(text, "\ufeff")); err != nil {
		return nil, fmt.Errorf("read unattend.xml: %w", err)
	}
	root := d.xml.Root()
	if root == nil || root.Tag != "unattend" {
		return nil, errors.New("read unattend.xml: its outermost element is not unattend")
	}
	if root.SelectAttr("xmlns:wcm") == nil {
		root.CreateAttr("xmlns:wcm", wcmSpace)
	}
	return d, nil
}

// Bytes is the file.
func (d *Document) Bytes() ([]byte, error) {
	d.xml.Indent(2)
	return d.xml.WriteToBytes()
}

// component is a component in a pass, made when it is missing.
func (d *Document) component(pass, name string) *etree.Element {
	root := d.xml.Root()
	var settings *etree.Element
	for _, e := range root.SelectElements("settings") {
		if e.SelectAttrValue("pass", "") == pass {
			settings = e
		}
	}
	if settings == nil {
		settings = root.CreateElement("settings")
		settings.CreateAttr("pass", pass)
	}
	for _, e := range settings.SelectElements("component") {
		if e.SelectAttrValue("name", "") == name && e.SelectAttrValue("processorArchitecture", "") == d.arch {
			return e
		}
	}
	c := settings.CreateElement("component")
	for _, a := range [][2]string{{"name", name}, {"processorArchitecture", d.arch}, {"publicKeyToken", publicKey},
		{"language", "neutral"}, {"versionScope", "nonSxS"}} {
		c.CreateAttr(a[0], a[1])
	}
	return c
}

// child is an element below another, made when it is missing.
func child(e *etree.Element, path ...string) *etree.Element {
	for _, name := range path {
		next := e.SelectElement(name)
		if next == nil {
			next = e.CreateElement(name)
		}
		e = next
	}
	return e
}

// set gives an element a text, if there is one.
func set(e *etree.Element, text string, path ...string) {
	if text != "" {
		child(e, path...).SetText(text)
	}
}

// Windows sets what a windows-settings step says.
func (d *Document) Windows(s *sequence.WindowsSettings) {
	if s.ComputerName+s.ProductKey+s.Owner+s.Organization+s.TimeZone != "" {
		shell := d.component(passSpecialize, shellSetup)
		set(shell, s.ComputerName, "ComputerName")
		set(shell, s.ProductKey, "ProductKey")
		set(shell, s.Owner, "RegisteredOwner")
		set(shell, s.Organization, "RegisteredOrganization")
		set(shell, s.TimeZone, "TimeZone")
	}
	if s.UILanguage+s.SystemLocale+s.UserLocale+s.InputLocale != "" {
		core := d.component(passOOBE, international)
		or := func(text string) string {
			if text == "" {
				return s.UILanguage
			}
			return text
		}
		set(core, or(s.InputLocale), "InputLocale")
		set(core, or(s.SystemLocale), "SystemLocale")
		set(core, s.UILanguage, "UILanguage")
		set(core, or(s.UserLocale), "UserLocale")
	}
	shell := d.component(passOOBE, shellSetup)
	if s.SkipWelcome == nil || *s.SkipWelcome {
		for _, name := range []string{"HideEULAPage", "HideOEMRegistrationScreen", "HideOnlineAccountScreens", "HideWirelessSetupInOOBE"} {
			set(shell, "true", "OOBE", name)
		}
		set(shell, protectOff, "OOBE", "ProtectYourPC")
	}
	if s.AdminPassword != "" {
		password := child(shell, "UserAccounts", "AdministratorPassword")
		set(password, hide(s.AdminPassword, "AdministratorPassword"), "Value")
		set(password, "false", "PlainText")
	}
	if len(shell.ChildElements()) == 0 {
		shell.Parent().RemoveChild(shell)
	}
}

// hide is how Windows' own tools write a password: UTF-16 of it and of the
// element's name, in base64. It keeps it from being read over a shoulder, no more;
// Windows takes passwords out of the file when it has used them.
func hide(password, element string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(password + element)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Join makes the machine join a domain.
func (d *Document) Join(domain *sequence.Domain) {
	id := d.identification()
	set(id, domain.Name, "JoinDomain")
	set(id, domain.OU, "MachineObjectOU")
	account, user := domain.Name, domain.Account
	// DOMAIN\user names the domain of the account; user@domain is taken whole.
	if before, after, ok := strings.Cut(domain.Account, `\`); ok {
		account, user = before, after
	}
	set(id, account, "Credentials", "Domain")
	set(id, user, "Credentials", "Username")
	set(id, domain.Password, "Credentials", "Password")
}

// identification is where joins are written, without an earlier one.
func (d *Document) identification() *etree.Element {
	c := d.component(passSpecialize, join)
	if old := c.SelectElement("Identification"); old != nil {
		c.RemoveChild(old)
	}
	return c.CreateElement("Identification")
}

// Network sets what a network-settings step says. booted is the MAC of the card
// that the machine booted from.
func (d *Document) Network(n *sequence.NetworkSettings, booted string) error {
	switch {
	case n.Domain != nil:
		d.Join(n.Domain)
	case n.Workgroup != "":
		set(d.identification(), n.Workgroup, "JoinWorkgroup")
	}
	for _, a := range n.Adapters {
		mac := a.MAC
		if mac == "" {
			mac = booted
		}
		if mac == "" {
			return errors.New("network adapter without a MAC, and it is not known which card this machine booted from: name the MAC")
		}
		d.adapter(a, strings.ToUpper(strings.ReplaceAll(mac, ":", "-")))
	}
	return nil
}

// adapter writes the settings of one card. Windows finds it by its MAC.
func (d *Document) adapter(a sequence.Adapter, mac string) {
	if len(a.Addresses) > 0 || a.Gateway != "" {
		card := interfaceOf(d.component(passSpecialize, tcpip), mac)
		v4, v6 := 0, 0
		list := child(card, "UnicastIpAddresses")
		for i, address := range a.Addresses {
			if strings.Contains(address, ":") {
				v6++
			} else {
				v4++
			}
			keyed(list, "IpAddress", i+1).SetText(address)
		}
		if v4 > 0 {
			set(card, "false", "Ipv4Settings", "DhcpEnabled")
		}
		if v6 > 0 {
			set(card, "false", "Ipv6Settings", "DhcpEnabled")
		}
		if a.Gateway != "" {
			prefix := "0.0.0.0/0"
			if strings.Contains(a.Gateway, ":") {
				prefix = "::/0"
			}
			route := child(card, "Routes").CreateElement("Route")
			route.CreateAttr("wcm:action", "add")
			set(route, "0", "Identifier")
			set(route, a.Gateway, "NextHopAddress")
			set(route, prefix, "Prefix")
		}
	}
	if len(a.DNS) > 0 || a.DNSSuffix != "" {
		card := interfaceOf(d.component(passSpecialize, dnsClient), mac)
		set(card, a.DNSSuffix, "DNSDomain")
		for i, server := range a.DNS {
			keyed(child(card, "DNSServerSearchOrder"), "IpAddress", i+1).SetText(server)
		}
	}
}

// interfaceOf makes the entry of a card anew.
func interfaceOf(component *etree.Element, mac string) *etree.Element {
	all := child(component, "Interfaces")
	for _, e := range all.SelectElements("Interface") {
		if id := e.SelectElement("Identifier"); id != nil && id.Text() == mac {
			all.RemoveChild(e)
		}
	}
	card := all.CreateElement("Interface")
	card.CreateAttr("wcm:action", "add")
	set(card, mac, "Identifier")
	return card
}

func keyed(list *etree.Element, name string, key int) *etree.Element {
	e := list.CreateElement(name)
	e.CreateAttr("wcm:action", "add")
	e.CreateAttr("wcm:keyValue", strconv.Itoa(key))
	return e
}

// Command runs a command line in the specialize pass, once: of two with the same
// description the later one stays.
func (d *Document) Command(description, line string) {
	list := child(d.component(passSpecialize, deployment), "RunSynchronous")
	order := 1
	for _, e := range list.SelectElements("RunSynchronousCommand") {
		if t := e.SelectElement("Description"); t != nil && t.Text() == description {
			list.RemoveChild(e)
			continue
		}
		if n := e.SelectElement("Order"); n != nil {
			if v, err := strconv.Atoi(n.Text()); err == nil && v >= order {
				order = v + 1
			}
		}
	}
	c := list.CreateElement("RunSynchronousCommand")
	c.CreateAttr("wcm:action", "add")
	set(c, description, "Description")
	set(c, strconv.Itoa(order), "Order")
	set(c, line, "Path")
}
