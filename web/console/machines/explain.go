package machines

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/web/admin"
	"castpoint/web/console/frame"
)

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
		return 0, frame.Wrong("architecture %q: want a number of DHCP option 93", s)
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
	Device    string `json:"device"`
	Evidence  string `json:"evidence"`
	BCD       string `json:"bcd"`
	Chain     string `json:"chain"`
	Image     string `json:"image"`
	ImageName string `json:"image_name"`
	Assigned  string `json:"assigned"`
	Target    string `json:"target"`
	Script    string `json:"script"`
	Lately    []struct {
		Time   time.Time `json:"time"`
		Asked  string    `json:"asked"`
		Answer string    `json:"answer"`
		Reason string    `json:"reason"`
		File   string    `json:"file"`
	} `json:"lately"`
	Open bool `json:"-"` // the rules are shown from the start
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

func (p *Machines) explain(r *http.Request, q question) (*explanation, error) {
	x := &explanation{}
	if err := p.Do(r, http.MethodPost, "/explain", q, x); err != nil {
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

func (p *Machines) explainPage(r *http.Request) (*frame.Page, error) {
	get := r.URL.Query()
	d := explainData{question: question{Arch: boot.ArchEFIX64, Interface: get.Get("interface"), IPXE: get.Get("ipxe") != ""}}
	var err error
	if text := get.Get("mac"); text != "" {
		if d.MAC, err = deploy.ParseMAC(text); err != nil {
			return nil, frame.Wrong("%v", err)
		}
	}
	if text := get.Get("uuid"); text != "" {
		if d.UUID, err = deploy.ParseUUID(text); err != nil {
			return nil, frame.Wrong("%v", err)
		}
	}
	if text := get.Get("arch"); text != "" {
		if d.Arch, err = parseArch(text); err != nil {
			return nil, err
		}
	}
	d.HTTP = overHTTP(d.Arch)
	d.Archs = archChoices(d.Arch)
	var st admin.Status
	if err := p.Get(r, "/status", &st); err != nil {
		return nil, err
	}
	if st.Network != nil {
		for _, i := range st.Network.Interfaces {
			name, _, _ := strings.Cut(i, " ")
			d.Interfaces = append(d.Interfaces, name)
		}
	}
	if d.MAC != "" || d.UUID != "" {
		if d.Answer, err = p.explain(r, d.question); err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		d.Answer.Open = true
	}
	return &frame.Page{Title: "Explain", Nav: "/explain", Body: "explain", Data: &d}, nil
}
