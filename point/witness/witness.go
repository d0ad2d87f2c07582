package witness

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"sync"
	"time"

	"castpoint/agent"
	"castpoint/boot"
	"castpoint/boot/httpboot"
	"castpoint/deploy"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/internal/event"
	"castpoint/tftp"
	"castpoint/web/metrics"
)

// Witness turns what the servers of the boot protocols tell into events of
// machines, and counts it.
type Witness struct {
	Whois  Whois
	Recent Decisions // of DHCP

	metrics  *metrics.Metrics
	timeline *event.Recorder
	devices  *deploy.Devices
	pieces   pieces
}

// New makes one that knows the machines on record.
func New(m *metrics.Metrics, timeline *event.Recorder, devices *deploy.Devices) *Witness {
	w := &Witness{metrics: m, timeline: timeline, devices: devices}
	for _, d := range devices.All() {
		w.Whois.knowDevice(&d)
	}
	return w
}

// DHCP takes a decision of the DHCP server. What machines ask that do not netboot is left out.
func (w *Witness) DHCP(e dhcp.Event) {
	if !dhcp4.Netboots(e.Client) {
		return
	}
	w.Recent.note(e)
	w.metrics.DHCP(e.Asked, e.Answer)
	w.Whois.Note(e.Client, e.Address)
	out := event.Event{
		Time: e.Time, MAC: e.Client.MAC.String(), UUID: e.Client.UUID, Kind: event.KindDHCP,
		Details: event.Details{Interface: e.Client.Interface, Asked: e.Asked, Answer: e.Answer, File: e.File},
	}
	if e.Address.IsValid() {
		out.Address = e.Address.String()
	}
	who := "firmware"
	if e.Client.IPXE {
		who = "iPXE"
	}
	out.Message = fmt.Sprintf("%s of %s", e.Asked, who)
	switch {
	case e.Answer == "":
		out.Message += " not answered: " + e.Reason
		// Firmware that asks a server that has nothing for it is somebody's
		// trouble; a REQUEST is for the server that gives the address.
		out.Trouble = e.Asked == "DISCOVER" || e.Asked == "SOLICIT"
	case e.File != "":
		out.Message += fmt.Sprintf(", %s: %s", e.Answer, e.Reason)
	default:
		out.Message += ", " + e.Answer
		if e.Reason != "" {
			out.Message += ": " + e.Reason
		}
	}
	w.timeline.Record(out)
}

// TFTP takes the end of a transfer, or a refusal.
func (w *Witness) TFTP(e tftp.Event) {
	if e.Kind != tftp.Started {
		w.metrics.TFTP(e.Kind.String(), e.Stats.Bytes, e.Stats.Retransmitted, e.Stats.Duration)
	}
	if e.Kind == tftp.Started || e.Kind == tftp.Probe || e.Ordinary {
		return
	}
	addr := e.Request.Peer.Addr().Unmap()
	mac, uuid := w.Whois.At(addr)
	out := event.Event{
		Time: e.Time, MAC: mac, UUID: uuid, Kind: event.KindTFTP,
		Details: event.Details{Remote: addr.String(), File: e.Request.Path, Bytes: e.Stats.Bytes, Seconds: e.Stats.Duration.Seconds()},
	}
	verb := "fetched "
	if e.Request.Write {
		verb = "sent "
	}
	switch e.Kind {
	case tftp.Finished:
		out.Message = verb + e.Request.Path + " by TFTP: " + speed(&out.Details)
	case tftp.Refused:
		out.Trouble, out.Message = true, fmt.Sprintf("%s by TFTP was refused: %v", e.Request.Path, e.Err)
	default:
		out.Trouble, out.Message = true, fmt.Sprintf("%s by TFTP ended after %s: %v", e.Request.Path, agent.Size(e.Stats.Bytes), e.Err)
	}
	w.timeline.Record(out)
}

// speed fills in the rate and says how much went how fast.
func speed(d *event.Details) string {
	text := agent.Size(d.Bytes)
	if d.Seconds > 0 {
		d.Rate = float64(d.Bytes) * 8 / d.Seconds
		text += fmt.Sprintf(" in %.1f s, %s", d.Seconds, agent.Rate(d.Rate))
	}
	return text
}

// HTTP takes a request for a boot file.
func (w *Witness) HTTP(r httpboot.Request) {
	w.metrics.HTTP(r.Status, r.Bytes, r.Duration)
	addr := r.Remote.Addr().Unmap()
	w.Whois.Note(r.Client, addr)
	if r.Ordinary || r.Method != http.MethodGet {
		return
	}
	mac, uuid := r.Client.MAC.String(), r.Client.UUID
	if mac == "" || uuid == "" {
		otherMAC, otherUUID := w.Whois.At(addr)
		if mac == "" {
			mac = otherMAC
		}
		if uuid == "" && mac == otherMAC {
			uuid = otherUUID
		}
	}
	out := event.Event{
		MAC: mac, UUID: uuid, Kind: event.KindHTTP,
		Details: event.Details{Remote: addr.String(), File: r.Name, Status: r.Status, Bytes: r.Bytes, Seconds: r.Duration.Seconds()},
	}
	_, script := boot.ScriptClient(r.Name)
	switch {
	case errors.Is(r.Err, boot.ErrNotFound), errors.Is(r.Err, boot.ErrForbidden):
		out.Trouble, out.Message = true, fmt.Sprintf("%s by HTTP was refused: %v", r.Name, r.Err)
	case r.Err != nil:
		out.Trouble, out.Message = true, r.Err.Error()
	case script:
		if r.Client.IPXE {
			w.devices.See(r.Client)
		}
		record := w.devices.Rule(r.Client).Record
		out.Kind, out.Message = event.KindBoot, "iPXE is running and has its script"
		if record.Waiting {
			out.Message = "iPXE is running and shows that the machine waits for approval"
		} else if record.Silent != "" {
			out.Message = "iPXE is told that the machine gets nothing: " + record.Silent
		}
		// One that waits asks every few seconds.
		if !w.pieces.first(mac+" "+out.Message, time.Now()) {
			return
		}
	default:
		out.Message = "fetched " + path.Base(r.Name) + " by HTTP: " + speed(&out.Details)
		// Boot managers fetch large files in many pieces.
		if r.Status == http.StatusPartialContent && !w.pieces.first(mac+" "+r.Name, time.Now()) {
			return
		}
	}
	w.timeline.Record(out)
}

// pieceLife is how long the same thing is not told again.
const pieceLife = time.Minute

// pieces tells the first of many equal things. The zero value has seen none.
type pieces struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// first says whether key was not there within pieceLife; while it goes on, it is
// told once.
func (p *pieces) first(key string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) >= maxAddresses {
		p.seen = make(map[string]time.Time)
	}
	last, ok := p.seen[key]
	p.seen[key] = now
	return !ok || now.Sub(last) > pieceLife
}

// Asker is what is known of the machine at an address.
func (w *Witness) Asker(remote netip.Addr) boot.Client { return w.Whois.client(remote) }
