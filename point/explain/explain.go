package explain

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/content/library"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/dhcp/lease"
	"castpoint/internal/config"
	"castpoint/point/answer"
	"castpoint/point/host"
	"castpoint/point/settings"
	"castpoint/point/witness"
	"castpoint/web/access"
	"castpoint/web/api"
)

// Config is what an Explainer is made of.
type Config struct {
	Settings config.Config
	Links    []host.Link // at least one; the first is asked about unless a question names another
	Library  *library.Library
	Rules    answer.Rules
	Agents   fs.FS
	Recent   *witness.Decisions   // nil without a server
	Leases   func() []lease.Lease // nil without a server
}

// Explainer answers questions with the parts that would answer machines.
type Explainer struct {
	cfg   Config
	parts *answer.Parts // of its own: it makes scripts, but no tokens
	dhcp  *dhcp.Server
}

// tokenShown stands for the token in a script that is only shown.
const tokenShown = "ONE-TIME-TOKEN"

// New makes what a server with these settings would have. It opens
// neither sockets nor the library.
func New(cfg Config) (*Explainer, error) {
	joinPort, err := settings.PortOf("join", cfg.Settings.Join)
	if err != nil {
		return nil, err
	}
	ticket := func(_ context.Context, c boot.Client) (boot.Ticket, error) {
		return boot.Ticket{Server: fmt.Sprintf("https://%s:%d", c.Server, joinPort), Token: tokenShown}, nil
	}
	parts, err := answer.New(&cfg.Settings, cfg.Library, cfg.Rules, ticket, cfg.Agents, zap.NewNop())
	if err != nil {
		return nil, err
	}
	e := &Explainer{cfg: cfg, parts: parts}
	d, err := settings.DHCP(&cfg.Settings, cfg.Links)
	if err == nil {
		d.Planner, d.Device = parts.Planner, cfg.Rules.Terms
		e.dhcp, err = dhcp.New(d)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Close gives up boot images that questions have opened.
func (e *Explainer) Close() { _ = e.parts.Close() }

// imagePath finds the boot image in a script.
var imagePath = regexp.MustCompile(`(?m)/boot/([^/\s]+)/`)

// limitScript bounds what is read of a script.
const limitScript = 1 << 20

// lately is how many decisions of the past are shown.
const lately = 8

func (e *Explainer) explain(ctx context.Context, q Question) (*Explanation, error) {
	if q.Known {
		cfg := e.cfg
		cfg.Settings.Allow, cfg.Settings.Deny = nil, nil
		cfg.Rules, cfg.Recent, cfg.Leases = answer.Rules{Anybody: true}, nil, nil
		open, err := New(cfg)
		if err != nil {
			return nil, err
		}
		defer open.Close()
		q.Known = false
		return open.explain(ctx, q)
	}
	c, err := e.client(q)
	if err != nil {
		return nil, err
	}
	x := &Explanation{Interface: c.Interface, Server: c.Server.String(), DHCP: e.cfg.Settings.DHCP, Assigned: e.cfg.Settings.Assign, Target: e.cfg.Settings.Target}
	d := e.dhcp.Decide(c)
	e.rules(x, c, d)
	c = d.Client
	x.Client, x.Quirk, x.Style, x.Evidence, x.Menu = c.String(), d.Quirk.Name, string(d.Quirk.Style), d.Quirk.Evidence, d.Menu
	if c.IPXE || e.cfg.Settings.DHCP != string(dhcp4.ModeProxy) {
		x.Style = ""
	}
	if e.cfg.Recent != nil {
		x.Lately = e.cfg.Recent.Of(c.MAC.String(), c.UUID, lately)
	}
	x.Address = e.address(c)
	switch {
	case d.Silent != "":
		x.Reason = d.Silent
		return x, nil
	case !d.Plan.Serve:
		x.Reason = d.Plan.Reason
		return x, nil
	}
	x.Answered, x.Reason, x.File, x.BCD = true, d.Plan.Reason, d.Plan.File, d.Plan.BCDPath
	if d.Plan.NextServer.IsValid() {
		x.Next = d.Plan.NextServer.String()
	}
	if e.cfg.Settings.DHCP == string(dhcp4.ModeOff) {
		x.Reason += " The network's DHCP server has to say so: castpoint dhcp settings."
	}
	x.Chain = string(boot.ChainIPXE)
	switch {
	case d.Plan.Local, d.Plan.File == BootLocal, strings.HasSuffix(d.Plan.File, bootNothing):
		x.Chain = string(boot.ChainLocal)
		return x, nil
	case strings.Contains(d.Plan.File, grubFolder):
		x.Chain = string(boot.ChainGRUB)
		name := d.Plan.File[strings.Index(d.Plan.File, grubFolder):]
		return x, e.show(ctx, path.Dir(name)+"/grub.cfg", c, x)
	}
	if strings.Contains(d.Plan.File, windowsFolder) {
		x.Chain = string(boot.ChainWindows)
		e.image(x, d.Plan.Image)
		return x, nil
	}
	return x, e.script(ctx, c, x)
}

// rules says rule by rule what was decided, in the order in which a request goes
// through them.
func (e *Explainer) rules(x *Explanation, c boot.Client, d dhcp.Decision) {
	say := func(name, says string) { x.Rules = append(x.Rules, Rule{name, says}) }
	if d.Silent != "" {
		say("lists", d.Silent)
		return
	}
	if len(e.cfg.Settings.Allow)+len(e.cfg.Settings.Deny) == 0 {
		say("lists", "there is none: everybody may be answered")
	} else {
		say("lists", "it may be answered (settings allow and deny)")
	}
	if e.cfg.Rules.Anybody {
		return
	}
	ruling, why := e.cfg.Rules.Devices.Explain(c)
	x.Waiting = ruling.Record.Waiting
	if ruling.Device != nil {
		x.Device = ruling.Device.ID
	}
	for _, text := range why {
		say("record", text)
	}
	var offers []string
	offers, why = e.cfg.Rules.Rollout.Offers(ruling, c)
	x.Deployments = offers
	for _, text := range why {
		say("deployments", text)
	}
	if d.Quirk.Name != "" {
		say("firmware", fmt.Sprintf("row %s, style %s: %s", d.Quirk.Name, d.Quirk.Style, d.Quirk.Evidence))
	}
	say("plan", d.Plan.Reason)
}

// address is the address that a machine has, or else the one that is kept for it, ""
// for none.
func (e *Explainer) address(c boot.Client) (address string) {
	if e.cfg.Leases != nil && len(c.MAC) > 0 {
		for _, lease := range e.cfg.Leases() {
			if lease.MAC == c.MAC.String() {
				address = lease.Address.String()
			}
		}
	}
	if address != "" {
		return address
	}
	list, err := e.cfg.Settings.Reservations()
	if err != nil {
		return "" // Validate has said so
	}
	for _, r := range list {
		if len(r.MAC) > 0 && r.MAC.String() == c.MAC.String() || r.UUID != "" && r.UUID == c.UUID {
			return r.Address.String()
		}
	}
	return ""
}

// Names by which a plan's chain is known: the folders of machines on Microsoft's
// chain and of those with shim and GRUB, and the program that does nothing.
const (
	windowsFolder = "winpe/"
	grubFolder    = "grub/"
	BootLocal     = "local.0"
	bootNothing   = "/nothing-to-do.efi"
)

// image adds the boot image with an id.
func (e *Explainer) image(x *Explanation, id string) {
	x.Image = id
	if ct, err := e.cfg.Library.Get(id); err == nil {
		x.ImageName = strings.TrimSpace(ct.Name + " " + ct.Version)
	}
}

// script adds what iPXE would run, and the boot image in it.
func (e *Explainer) script(ctx context.Context, c boot.Client, x *Explanation) error {
	c.IPXE = true
	plan := e.parts.Planner.Plan(c)
	_, name, ok := strings.Cut(strings.TrimPrefix(plan.File, "http://"), "/")
	if !plan.Serve || !ok {
		return nil // nothing that goes by iPXE
	}
	return e.show(ctx, name, c, x)
}

// show adds a script that loaders run, and the boot image in it.
func (e *Explainer) show(ctx context.Context, name string, c boot.Client, x *Explanation) error {
	f, err := e.parts.Files.Open(ctx, name, c)
	if err != nil {
		return fmt.Errorf("script of %s: %w", c, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, min(f.Size, limitScript)))
	if err != nil {
		return fmt.Errorf("script of %s: %w", c, err)
	}
	x.Script = string(text)
	if m := imagePath.FindStringSubmatch(x.Script); m != nil {
		e.image(x, m[1])
	}
	return nil
}

// Operations answer with what get gives, and done gives up.
func Operations(get func() (e *Explainer, done func())) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "explain", Method: http.MethodPost, Path: "/explain", Scope: access.Read, Tag: "machines", Reads: true,
			Summary: "What a machine would get when it netboots, and why",
			About:   "Nothing is sent and nothing is noted: the question goes through the rules that a packet of that machine would go through.",
		}, func(ctx context.Context, in *struct{ Body Question }) (*Explanation, error) {
			e, done := get()
			defer done()
			return e.explain(ctx, in.Body)
		})
		api.Answer(a, api.Operation{
			ID: "get-dhcp-settings", Method: http.MethodGet, Path: "/dhcp/settings", Scope: access.Read, Tag: "dhcp",
			Summary: "What another DHCP server has to say",
			About:   "A fragment of the configuration of Kea, dnsmasq or Windows DHCP with which that server sends machines here.",
			Errors:  []int{http.StatusBadRequest},
		}, func(_ context.Context, in *struct {
			Product string `query:"product" required:"true" doc:"kea, dnsmasq or windows"`
			Server  string `query:"server" doc:"address of this server in them; its first when left out"`
		}) (*ForeignSettings, error) {
			e, done := get()
			defer done()
			return e.settings(in.Product, in.Server)
		})
	}
}
