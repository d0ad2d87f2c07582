package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/internal/event"
)

// maxTable is the largest table of devices that is imported, in bytes.
const maxTable = 32 << 20

// byAdmin stands for whoever has the admin API.
const byAdmin = "admin"

// deviceRoutes are the requests about devices; handle adds one.
//
//	GET    /api/v1/devices                     deploy.Page; state, group, search, after, limit
//	POST   /api/v1/devices                     AddDevice
//	POST   /api/v1/devices/import              CSV in, deploy.Imported out
//	GET    /api/v1/devices/{id}
//	PATCH  /api/v1/devices/{id}                SetDevice
//	DELETE /api/v1/devices/{id}
//	POST   /api/v1/devices/{id}/approve        ApproveDevice
//	POST   /api/v1/devices/{id}/deny
//	GET    /api/v1/devices/{id}/timeline       event.Page; before, after, limit, kind; or follow
//	GET    /api/v1/timeline                    the same for all machines
func (s *Server) deviceRoutes(handle func(pattern string, f func(http.ResponseWriter, *http.Request) error)) {
	with := func(f func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			if s.cfg.Devices == nil || s.cfg.Timeline == nil {
				return problem(http.StatusNotImplemented, "", "", "this server keeps no records of devices")
			}
			return deviceProblem(f(w, r))
		}
	}
	handle("GET /devices", with(s.listDevices))
	handle("POST /devices", with(s.addDevice))
	handle("POST /devices/import", with(s.importDevices))
	handle("GET /devices/{id}", with(s.getDevice))
	handle("PATCH /devices/{id}", with(s.setDevice))
	handle("DELETE /devices/{id}", with(s.removeDevice))
	handle("POST /devices/{id}/approve", with(s.approveDevice))
	handle("POST /devices/{id}/deny", with(s.denyDevice))
	handle("GET /devices/{id}/timeline", with(s.deviceTimeline))
	handle("GET /timeline", with(func(w http.ResponseWriter, r *http.Request) error { return s.timeline(w, r, event.Filter{}) }))
}

// deviceProblem says which status an error of the records is.
func deviceProblem(err error) error {
	const list = "castpoint device list shows what there is"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, deploy.ErrNotFound):
		return problem(http.StatusNotFound, protocol.CodeNotFound, list, "%v", err)
	case errors.Is(err, deploy.ErrAmbiguous):
		return problem(http.StatusBadRequest, "", list, "%v", err)
	case errors.Is(err, deploy.ErrProtected):
		return problem(http.StatusConflict, protocol.CodeRefused, "castpoint device set ID --protected=false", "%v", err)
	case errors.Is(err, deploy.ErrInvalid):
		return problem(http.StatusBadRequest, "", "", "%v", err)
	case errors.Is(err, deploy.ErrExists):
		return problem(http.StatusConflict, protocol.CodeRefused, "", "%v", err)
	}
	return err
}

// AddDevice asks for a record.
type AddDevice struct {
	Name      string              `json:"name,omitempty"`
	UUID      string              `json:"uuid,omitempty"`
	MACs      []string            `json:"macs,omitempty"`
	State     deploy.State        `json:"state,omitempty"` // "" is known
	Protected bool                `json:"protected,omitempty"`
	Notes     string              `json:"notes,omitempty"`
	Groups    []string            `json:"groups,omitempty"`
	Variables map[string]string   `json:"variables,omitempty"`
	Boot      deploy.BootSettings `json:"boot,omitzero"`
}

// SetDevice says what is to be changed; fields that are left out stay.
type SetDevice struct {
	Name      *string            `json:"name,omitempty"`
	UUID      *string            `json:"uuid,omitempty"`
	MACs      *[]string          `json:"macs,omitempty"`        // instead of those it has
	AddMACs   []string           `json:"add_macs,omitempty"`    // beside them
	DropMACs  []string           `json:"remove_macs,omitempty"` // of them
	Protected *bool              `json:"protected,omitempty"`
	Notes     *string            `json:"notes,omitempty"`
	Groups    *[]string          `json:"groups,omitempty"`
	Variables map[string]*string `json:"variables,omitempty"` // null takes one away
	Settings  *[]string          `json:"settings,omitempty"`  // of its boot, instead of those it has
	Image     *string            `json:"image,omitempty"`     // "" for the server's; so are the others
	Loader    *string            `json:"loader,omitempty"`
	Style     *string            `json:"style,omitempty"`
	Delay     *int               `json:"delay,omitempty"` // seconds; -1 for the server's
}

// ApproveDevice may give the device its name.
type ApproveDevice struct {
	Name string `json:"name,omitempty"`
}

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) error {
	get := r.URL.Query()
	q := deploy.Query{State: deploy.State(get.Get("state")), Group: get.Get("group"), Search: get.Get("search"), After: get.Get("after")}
	var err error
	if q.Limit, err = limitOf(get.Get("limit"), deploy.MaxLimit); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.cfg.Devices.List(q))
	return nil
}

// limitOf reads the length of a page; 0 for the usual one.
func limitOf(text string, highest int) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > highest {
		return 0, problem(http.StatusBadRequest, "", "", "limit %q: want 1 to %d", text, highest)
	}
	return n, nil
}

func (s *Server) addDevice(w http.ResponseWriter, r *http.Request) error {
	var req AddDevice
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	got, err := s.cfg.Devices.Add(r.Context(), deploy.Device{
		Name: req.Name, UUID: req.UUID, MACs: req.MACs, State: req.State, Protected: req.Protected, Notes: req.Notes,
		Groups: req.Groups, Variables: req.Variables, Boot: req.Boot,
	}, byAdmin)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, got)
	return nil
}

func (s *Server) importDevices(w http.ResponseWriter, r *http.Request) error {
	table, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTable))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "", "", "the table is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return err
	}
	got, err := s.cfg.Devices.ImportCSV(r.Context(), table, byAdmin)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, got)
	return nil
}

func (s *Server) getDevice(w http.ResponseWriter, r *http.Request) error {
	one, err := s.cfg.Devices.Find(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, one)
	return nil
}

func (s *Server) setDevice(w http.ResponseWriter, r *http.Request) error {
	var req SetDevice
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	one, err := s.cfg.Devices.Find(r.PathValue("id"))
	if err != nil {
		return err
	}
	got, err := s.cfg.Devices.Change(r.Context(), one.ID, byAdmin, "settings changed", req.apply)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, got)
	return nil
}

func (req *SetDevice) apply(d *deploy.Device) error {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&d.Name, req.Name)
	set(&d.UUID, req.UUID)
	set(&d.Notes, req.Notes)
	set(&d.Boot.Image, req.Image)
	set(&d.Boot.Loader, req.Loader)
	set(&d.Boot.Style, req.Style)
	if req.Settings != nil {
		d.Boot.Settings = *req.Settings
	}
	if req.MACs != nil {
		d.MACs = *req.MACs
	}
	d.MACs = append(d.MACs, req.AddMACs...)
	for _, text := range req.DropMACs {
		mac, err := deploy.ParseMAC(text)
		if err != nil {
			return err
		}
		before := len(d.MACs)
		var kept []string
		for _, m := range d.MACs {
			if m != mac {
				kept = append(kept, m)
			}
		}
		if d.MACs = kept; len(kept) == before {
			return fmt.Errorf("%w: device %s has no MAC %s", deploy.ErrInvalid, d.Label(), mac)
		}
	}
	if req.Protected != nil {
		d.Protected = *req.Protected
	}
	if req.Groups != nil {
		d.Groups = *req.Groups
	}
	for name, value := range req.Variables {
		if value == nil {
			delete(d.Variables, name)
			continue
		}
		if d.Variables == nil {
			d.Variables = make(map[string]string)
		}
		d.Variables[name] = *value
	}
	if req.Delay != nil {
		if d.Boot.Delay = req.Delay; *req.Delay == -1 {
			d.Boot.Delay = nil
		}
	}
	return nil
}

func (s *Server) removeDevice(w http.ResponseWriter, r *http.Request) error {
	one, err := s.cfg.Devices.Find(r.PathValue("id"))
	if err == nil {
		err = s.cfg.Devices.Remove(r.Context(), one.ID, byAdmin)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) approveDevice(w http.ResponseWriter, r *http.Request) error {
	var req ApproveDevice
	if r.ContentLength != 0 {
		if err := readJSON(w, r, maxAdminBody, &req); err != nil {
			return err
		}
	}
	one, err := s.cfg.Devices.Find(r.PathValue("id"))
	if err == nil {
		one, err = s.cfg.Devices.Approve(r.Context(), one.ID, req.Name, byAdmin)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, one)
	return nil
}

func (s *Server) denyDevice(w http.ResponseWriter, r *http.Request) error {
	one, err := s.cfg.Devices.Find(r.PathValue("id"))
	if err == nil {
		one, err = s.cfg.Devices.Deny(r.Context(), one.ID, byAdmin)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, one)
	return nil
}

// deviceTimeline is the timeline of a device, or of a machine that is not on
// record, by its MAC or UUID.
func (s *Server) deviceTimeline(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	one, err := s.cfg.Devices.Find(id)
	f := event.Filter{MACs: one.MACs}
	if one.UUID != "" {
		f.UUIDs = []string{one.UUID}
	}
	if errors.Is(err, deploy.ErrNotFound) {
		if mac, macErr := deploy.ParseMAC(id); macErr == nil {
			f.MACs, err = []string{mac}, nil
		} else if uuid, uuidErr := deploy.ParseUUID(id); uuidErr == nil {
			f.UUIDs, err = []string{uuid}, nil
		}
	}
	if err != nil {
		return err
	}
	return s.timeline(w, r, f)
}

// maxTimeline is the longest page of a timeline.
const maxTimeline = 10_000

func (s *Server) timeline(w http.ResponseWriter, r *http.Request, f event.Filter) error {
	get := r.URL.Query()
	for _, k := range get["kind"] {
		f.Kinds = append(f.Kinds, event.Kind(k))
	}
	limit, err := limitOf(get.Get("limit"), maxTimeline)
	if err != nil {
		return err
	}
	var numbers [2]int64
	last := r.Header.Get("Last-Event-ID") // a browser that comes back
	for i, text := range []string{get.Get("before"), firstOf(get.Get("after"), last)} {
		if text == "" {
			continue
		}
		if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil || numbers[i] < 0 {
			return problem(http.StatusBadRequest, "", "", "before and after are numbers of events, not %q", text)
		}
	}
	if err := s.cfg.Timeline.Flush(r.Context()); err != nil {
		return err
	}
	if follow, _ := strconv.ParseBool(get.Get("follow")); follow {
		return s.followTimeline(w, r, f, numbers[1], limit)
	}
	p, err := s.cfg.Timeline.Query(r.Context(), f, numbers[0], numbers[1], limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, p)
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// aliveTime is how often a stream on which nothing happens shows that it lives.
const aliveTime = 15 * time.Second

// followTimeline streams events as server-sent events: those that are there behind
// after, at most limit of them, and then those that happen.
func (s *Server) followTimeline(w http.ResponseWriter, r *http.Request, f event.Filter, after int64, limit int) error {
	follower := s.cfg.Timeline.Follow(f)
	defer follower.Close()
	p, err := s.cfg.Timeline.Query(r.Context(), f, 0, after, limit)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	// The time limit of the request, which would end the stream with it. A request
	// that comes without a network has none.
	if err := flush.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	last := after
	var gone error
	send := func(list []event.Event) {
		for i := range list {
			if list[i].ID > last && gone == nil {
				last = list[i].ID
				gone = writeSSE(w, last, &list[i])
			}
		}
		_ = flush.Flush() // a client that has gone ends the request's context
	}
	send(p.Events)
	alive := time.NewTicker(aliveTime)
	defer alive.Stop()
	missed := uint64(0)
	for gone == nil {
		select {
		case <-r.Context().Done():
			return nil
		case <-alive.C:
			_, gone = io.WriteString(w, ":\n\n")
			_ = flush.Flush()
		case e, ok := <-follower.Events():
			if !ok {
				return nil
			}
			if n := follower.Missed(); n != missed {
				// What it was too slow for is in the store, up to this event.
				missed = n
				if p, err := s.cfg.Timeline.Query(r.Context(), f, e.ID, last, maxTimeline); err == nil {
					send(p.Events)
				}
			}
			send([]event.Event{e})
		}
	}
	return nil
}

func writeSSE(w io.Writer, id int64, e *event.Event) error {
	var b strings.Builder
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "id: %d\ndata: %s\n\n", id, text)
	_, err = io.WriteString(w, b.String())
	return err
}
