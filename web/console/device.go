package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/boot"
	"castpoint/content"
	"castpoint/deploy"
	"castpoint/internal/event"
	"castpoint/web"
)

// deviceData is what the page of a device shows.
type deviceData struct {
	deploy.Device
	OnRecord bool
	Key      string // what it was asked for by
	Events   []event.Event
	Older    string // address of the page of older events
	Newest   bool   // the events are the newest ones
	Kinds    []kindChoice
	Explain  *explanation
	Why      string // there is no explanation
	Images   []*content.Content
}

// kindChoice is a filter of the timeline.
type kindChoice struct {
	Kind   event.Kind
	Chosen bool
}

// timelinePage is how many events a page of a timeline has.
const timelinePage = 100

// device shows a device on record, or what a machine did that is not, by its MAC
// or UUID.
func (c *Console) device(r *http.Request) (*page, error) {
	id := r.PathValue("id")
	d := deviceData{Key: id, OnRecord: true}
	err := c.cfg.API.Call(r.Context(), http.MethodGet, devicePath(id), nil, &d.Device)
	var p *protocol.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		mac, macErr := deploy.ParseMAC(id)
		uuid, uuidErr := deploy.ParseUUID(id)
		switch {
		case macErr == nil:
			d.Device, d.OnRecord, err = deploy.Device{MACs: []string{mac}}, false, nil
		case uuidErr == nil:
			d.Device, d.OnRecord, err = deploy.Device{UUID: uuid}, false, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := c.deviceTimeline(r, &d); err != nil {
		return nil, err
	}
	if q := questionOf(&d.Device); d.Newest {
		if d.Explain, err = c.explain(r, q); err != nil {
			d.Why = err.Error()
		}
	}
	if d.Images, err = c.contentsOf(r, content.KindBootImage); err != nil {
		return nil, err
	}
	out := &page{title: d.Label(), nav: "/devices", body: "device", data: &d}
	if d.Newest {
		out.live = liveSoon
	}
	return out, nil
}

// deviceTimeline fills in the events, newest first.
func (c *Console) deviceTimeline(r *http.Request, d *deviceData) error {
	q := r.URL.Query()
	ask := url.Values{"limit": {strconv.Itoa(timelinePage)}}
	here := url.Values{}
	for _, k := range event.Kinds() {
		chosen := slices.Contains(q["kind"], string(k))
		if chosen {
			ask.Add("kind", string(k))
			here.Add("kind", string(k))
		}
		d.Kinds = append(d.Kinds, kindChoice{k, chosen})
	}
	d.Newest = q.Get("before") == ""
	if !d.Newest {
		ask.Set("before", q.Get("before"))
	}
	var p event.Page
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, devicePath(d.Key)+"/timeline?"+ask.Encode(), nil, &p); err != nil {
		return err
	}
	slices.Reverse(p.Events)
	d.Events = p.Events
	if p.Before > 0 {
		here.Set("before", strconv.FormatInt(p.Before, 10))
		d.Older = "/devices/" + url.PathEscape(d.Key) + "?" + here.Encode() + "#timeline"
	}
	return nil
}

func (c *Console) setDevice(r *http.Request) (to, said string, err error) {
	f := r.PostForm
	set := web.SetDevice{}
	text := func(name string, to **string) {
		if f.Has(name) {
			value := strings.TrimSpace(f.Get(name))
			*to = &value
		}
	}
	list := func(name string, to **[]string) {
		if f.Has(name) {
			value := append([]string{}, words(f.Get(name))...)
			*to = &value
		}
	}
	text("name", &set.Name)
	text("uuid", &set.UUID)
	text("notes", &set.Notes)
	text("image", &set.Image)
	text("loader", &set.Loader)
	text("style", &set.Style)
	list("macs", &set.MACs)
	list("groups", &set.Groups)
	list("settings", &set.Settings)
	if f.Has("delay") {
		delay := -1
		if text := strings.TrimSpace(f.Get("delay")); text != "" {
			if delay, err = strconv.Atoi(text); err != nil {
				return "", "", wrong("delay %q: want a number of seconds, or nothing for the server's", text)
			}
		}
		set.Delay = &delay
	}
	if f.Has("protected-shown") {
		protected := f.Has("protected")
		set.Protected = &protected
	}
	var one deploy.Device
	if err := c.cfg.API.Call(r.Context(), http.MethodPatch, devicePath(r.PathValue("id")), set, &one); err != nil {
		return "", "", err
	}
	return "/devices/" + url.PathEscape(one.ID), "Changed " + one.Label() + ".", nil
}

// questionOf asks what a device would get the way it asked last.
func questionOf(d *deploy.Device) question {
	q := question{UUID: d.UUID, MAC: d.Seen.MAC, Interface: d.Seen.Interface, Arch: boot.ArchEFIX64}
	if q.MAC == "" && len(d.MACs) > 0 {
		q.MAC = d.MACs[0]
	}
	// As boot.Arch writes it: its number is in brackets.
	if _, rest, ok := strings.Cut(d.Seen.Firmware, "("); ok {
		number, _, _ := strings.Cut(rest, ")")
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			q.Arch = boot.Arch(n)
		}
	}
	q.HTTP = overHTTP(q.Arch)
	return q
}

// overHTTP says whether the architecture is one of UEFI HTTP boot.
func overHTTP(a boot.Arch) bool { return a >= boot.ArchEFIIA32HTTP && a <= boot.ArchBIOSHTTP }

// archChoice is a choice of a form.
type archChoice struct {
	Number boot.Arch
	Name   string
	Chosen bool
}

// archChoices are the architectures that are asked for, with one of them chosen.
func archChoices(chosen boot.Arch) (list []archChoice) {
	for _, a := range []boot.Arch{
		boot.ArchEFIX64, boot.ArchBIOS, boot.ArchEFIX64HTTP, boot.ArchEFIARM64, boot.ArchEFIARM64HTTP, boot.ArchEFIIA32, boot.ArchEFIARM32, boot.ArchRaspberryPi,
	} {
		list = append(list, archChoice{a, a.String(), a == chosen})
	}
	if !slices.ContainsFunc(list, func(a archChoice) bool { return a.Chosen }) {
		list = append(list, archChoice{chosen, chosen.String(), true})
	}
	return list
}

// parseArch reads the number of an architecture.
func parseArch(s string) (boot.Arch, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, wrong("architecture %q: want a number of DHCP option 93", s)
	}
	return boot.Arch(n), nil
}

// explanation is what the page shows of the answer of the API's explain.
type explanation struct {
	Client    string `json:"client"`
	Interface string `json:"interface"`
	Server    string `json:"server"`
	DHCP      string `json:"dhcp"`
	Rules     []struct {
		Name string `json:"name"`
		Says string `json:"says"`
	} `json:"rules"`
	Waiting   bool   `json:"waiting"`
	Answered  bool   `json:"answered"`
	Reason    string `json:"reason"`
	Quirk     string `json:"quirk"`
	Style     string `json:"style"`
	Menu      bool   `json:"menu"`
	Address   string `json:"address"`
	File      string `json:"file"`
	Next      string `json:"next_server"`
	BCD       string `json:"bcd"`
	Chain     string `json:"chain"`
	Image     string `json:"image"`
	ImageName string `json:"image_name"`
	Assigned  string `json:"assigned"`
	Target    string `json:"target"`
	Script    string `json:"script"`
}

// question is what is asked of the API's explain.
type question struct {
	MAC       string    `json:"mac,omitempty"`
	UUID      string    `json:"uuid,omitempty"`
	Arch      boot.Arch `json:"arch"`
	Interface string    `json:"interface,omitempty"`
	IPXE      bool      `json:"ipxe,omitempty"`
	HTTP      bool      `json:"http,omitempty"`
}

func (c *Console) explain(r *http.Request, q question) (*explanation, error) {
	x := &explanation{}
	if err := c.cfg.API.Call(r.Context(), http.MethodPost, "/explain", q, x); err != nil {
		return nil, err
	}
	return x, nil
}

// explainData is what the page explain shows.
type explainData struct {
	question
	Archs      []archChoice
	Interfaces []string
	Answer     *explanation
}

func (c *Console) explainPage(r *http.Request) (*page, error) {
	get := r.URL.Query()
	d := explainData{question: question{Arch: boot.ArchEFIX64, Interface: get.Get("interface"), IPXE: get.Get("ipxe") != ""}}
	var err error
	if text := get.Get("mac"); text != "" {
		if d.MAC, err = deploy.ParseMAC(text); err != nil {
			return nil, wrong("%v", err)
		}
	}
	if text := get.Get("uuid"); text != "" {
		if d.UUID, err = deploy.ParseUUID(text); err != nil {
			return nil, wrong("%v", err)
		}
	}
	if text := get.Get("arch"); text != "" {
		if d.Arch, err = parseArch(text); err != nil {
			return nil, err
		}
	}
	d.HTTP = overHTTP(d.Arch)
	d.Archs = archChoices(d.Arch)
	var st web.Status
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/status", nil, &st); err != nil {
		return nil, err
	}
	if st.Network != nil {
		for _, i := range st.Network.Interfaces {
			name, _, _ := strings.Cut(i, " ")
			d.Interfaces = append(d.Interfaces, name)
		}
	}
	if d.MAC != "" || d.UUID != "" {
		if d.Answer, err = c.explain(r, d.question); err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
	}
	return &page{title: "Explain", nav: "/explain", body: "explain", data: &d}, nil
}
