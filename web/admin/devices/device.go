package devices

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/web/access"
	"castpoint/web/api"
)

// maxTable is the largest table of devices that is imported, in bytes.
const maxTable = 32 << 20

func (s *operations) deviceOperations(a *api.API) {
	const tag = "devices"
	api.Answer(a, api.Operation{
		ID: "list-devices", Method: http.MethodGet, Path: "/devices", Scope: access.Read, Tag: tag,
		Summary: "List devices, those that wait for approval first",
		About:   "Devices that wait for approval come first, then all others in the order of their names. A total for each state is in the answer.",
	}, known(s, s.listDevices))
	api.Answer(a, api.Operation{
		ID: "add-device", Method: http.MethodPost, Path: "/devices", Scope: access.Operate, Tag: tag, Status: http.StatusCreated,
		Summary: "Put a device on record",
		About:   "A device has a name, a UUID or a MAC at least. A UUID and a MAC belong to one device.",
		Errors:  []int{http.StatusConflict},
	}, known(s, s.addDevice))
	api.Answer(a, api.Operation{
		ID: "import-devices", Method: http.MethodPost, Path: "/devices/import", Scope: access.Operate, Tag: tag, MaxBody: maxTable,
		Summary: "Put a table of devices (CSV) on record",
		About:   "The first line of the table names the columns: name, uuid, mac and others (see castpoint device import --help). All lines are taken or none; what is wrong is named with its line.",
		Errors:  []int{http.StatusConflict},
	}, known(s, s.importDevices))
	api.Answer(a, api.Operation{
		ID: "get-device", Method: http.MethodGet, Path: "/devices/{id}", Scope: access.Read, Tag: tag,
		Summary: "The record of a device",
		About:   "What is on record, what its agent has reported about it, and where it was seen last.",
	}, known(s, s.getDevice))
	api.Answer(a, api.Operation{
		ID: "set-device", Method: http.MethodPatch, Path: "/devices/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Change the record of a device",
		About:   "Fields that are left out stay. The new settings are in force at its next request.",
		Errors:  []int{http.StatusConflict},
	}, known(s, s.setDevice))
	api.Act(a, api.Operation{
		ID: "remove-device", Method: http.MethodDelete, Path: "/devices/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Remove the record of a device",
		About:   "Its timeline stays until it is too old. Refused for a protected device.",
		Errors:  []int{http.StatusConflict},
	}, func(ctx context.Context, in *DevicePath) error {
		_, err := known(s, s.removeDevice)(ctx, in)
		return err
	})
	api.Answer(a, api.Operation{
		ID: "approve-device", Method: http.MethodPost, Path: "/devices/{id}/approve", Scope: access.Operate, Tag: tag,
		Summary: "Let a device boot",
		About:   "It boots at its next request, and may get a name. The body may be left out.",
		Errors:  []int{http.StatusConflict},
	}, known(s, s.approveDevice))
	api.Answer(a, api.Operation{
		ID: "deny-device", Method: http.MethodPost, Path: "/devices/{id}/deny", Scope: access.Operate, Tag: tag,
		Summary: "Keep a device from booting",
		About:   "It gets no answer any more. Refused for a protected device.",
	}, known(s, s.denyDevice))
}

// known makes an operation one that needs records of devices.
func known[I, O any](s *operations, f func(context.Context, *I) (O, error)) func(context.Context, *I) (O, error) {
	return func(ctx context.Context, in *I) (out O, err error) {
		if s.Devices == nil || s.Timeline == nil {
			return out, NoRecords()
		}
		out, err = f(ctx, in)
		return out, Problem(err)
	}
}

// NoRecords is the answer of a server that has none.
func NoRecords() error {
	return api.Refusal(http.StatusNotImplemented, "", "", "this server keeps no records of devices")
}

// DevicePath names a device.
type DevicePath struct {
	ID string `path:"id" doc:"id, name, UUID, MAC, or the beginning of one of these when only one device has it"`
}

// Problem says which status an error of the records is.
func Problem(err error) error {
	const list = "castpoint device list shows what there is"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, deploy.ErrNotFound):
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, list, "%v", err)
	case errors.Is(err, deploy.ErrAmbiguous):
		return api.Refusal(http.StatusBadRequest, "", list, "%v", err)
	case errors.Is(err, deploy.ErrProtected):
		return api.Refusal(http.StatusConflict, protocol.CodeRefused, "castpoint device set ID --protected=false", "%v", err)
	case errors.Is(err, deploy.ErrInvalid):
		return api.Refusal(http.StatusBadRequest, "", "", "%v", err)
	case errors.Is(err, deploy.ErrExists):
		return api.Refusal(http.StatusConflict, protocol.CodeRefused, "", "%v", err)
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

type deviceQuery struct {
	State  deploy.State `query:"state" doc:"known, imported, waiting or denied"`
	Group  string       `query:"group" doc:"only devices of this group"`
	Search string       `query:"search" doc:"part of a name, an address or the notes"`
	api.PageQuery
}

func (s *operations) listDevices(_ context.Context, in *deviceQuery) (deploy.Page, error) {
	return s.Devices.List(deploy.Query{State: in.State, Group: in.Group, Search: in.Search, After: in.After, Limit: in.Limit}), nil
}

func (s *operations) addDevice(ctx context.Context, in *struct{ Body AddDevice }) (deploy.Device, error) {
	req := &in.Body
	one, err := s.Devices.Add(ctx, deploy.Device{
		Name: req.Name, UUID: req.UUID, MACs: req.MACs, State: req.State, Protected: req.Protected, Notes: req.Notes,
		Groups: req.Groups, Variables: req.Variables, Boot: req.Boot,
	}, access.Name(ctx))
	if err == nil {
		api.Note(ctx, "%s (%s)", one.Label(), one.ID)
	}
	return one, err
}

func (s *operations) importDevices(ctx context.Context, in *struct {
	RawBody []byte `contentType:"text/csv"`
}) (deploy.Imported, error) {
	return s.Devices.ImportCSV(ctx, in.RawBody, access.Name(ctx))
}

func (s *operations) getDevice(_ context.Context, in *DevicePath) (deploy.Device, error) {
	return s.Devices.Find(in.ID)
}

func (s *operations) setDevice(ctx context.Context, in *struct {
	DevicePath
	Body SetDevice
}) (deploy.Device, error) {
	one, err := s.Devices.Find(in.ID)
	if err != nil {
		return one, err
	}
	return s.Devices.Change(ctx, one.ID, access.Name(ctx), "settings changed", in.Body.apply)
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

func (s *operations) removeDevice(ctx context.Context, in *DevicePath) (struct{}, error) {
	one, err := s.Devices.Find(in.ID)
	if err == nil {
		api.Note(ctx, "%s (%s)", one.Label(), one.ID)
		err = s.Devices.Remove(ctx, one.ID, access.Name(ctx))
	}
	if err == nil && s.Rollout != nil {
		err = s.Rollout.Forget(ctx, one.ID)
	}
	return struct{}{}, err
}

func (s *operations) approveDevice(ctx context.Context, in *struct {
	DevicePath
	Body *ApproveDevice
}) (deploy.Device, error) {
	one, err := s.Devices.Find(in.ID)
	if err != nil {
		return one, err
	}
	name := ""
	if in.Body != nil {
		name = in.Body.Name
	}
	return s.Devices.Approve(ctx, one.ID, name, access.Name(ctx))
}

func (s *operations) denyDevice(ctx context.Context, in *DevicePath) (deploy.Device, error) {
	one, err := s.Devices.Find(in.ID)
	if err != nil {
		return one, err
	}
	return s.Devices.Deny(ctx, one.ID, access.Name(ctx))
}
