package deployments

import (
	"context"
	"net/http"

	"castpoint/deploy/secret"
	"castpoint/web/access"
	"castpoint/web/admin/devices"
	"castpoint/web/api"
)

// deviceOperations are about what deployments keep of devices, and about waking them.
func (s *operations) deviceOperations(a *api.API) {
	api.Act(a, api.Operation{
		ID: "set-device-secret", Method: http.MethodPut, Path: "/devices/{id}/secrets/{name}", Scope: access.Operate, Tag: "devices",
		Summary: "Set a secret variable of a device; an empty value takes it away",
		About:   "It goes before one of the same name of a collection. No operation shows it again.",
	}, rolledAct(s, func(ctx context.Context, in *SecretPath) error {
		return s.setDeviceSecret(ctx, in)
	}))
	api.Answer(a, api.Operation{
		ID: "list-device-secrets", Method: http.MethodGet, Path: "/devices/{id}/secrets", Scope: access.Read, Tag: "devices",
		Summary: "The names of a device's secret variables",
		About:   "Their values are never shown.",
	}, rolled(s, func(_ context.Context, in *devices.DevicePath) (Names, error) {
		d, err := s.Devices.Find(in.ID)
		if err != nil {
			return Names{}, err
		}
		return Names{append([]string{}, s.Rollout.Secrets.Names(secret.OfDevice(d.ID))...)}, nil
	}))
	api.Answer(a, api.Operation{
		ID: "show-recovery", Method: http.MethodPost, Path: "/devices/{id}/recovery", Scope: access.Admin, Tag: "devices",
		Summary: "Show the recovery passwords of a device's encrypted volumes",
		About:   "Steps that encrypt a volume with recovery: server report them. It is a POST so that each look is in the audit log.",
	}, rolled(s, s.showRecovery))
	api.Answer(a, api.Operation{
		ID: "wake-device", Method: http.MethodPost, Path: "/devices/{id}/wake", Scope: access.Operate, Tag: "devices",
		Summary: "Send a device Wake-on-LAN packets",
		About:   "They go out of every interface that is served, once for each MAC. The answer has the MACs.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, func(ctx context.Context, in *devices.DevicePath) (Names, error) {
		macs, err := s.Monitor.Wake(in.ID, access.Name(ctx))
		return Names{macs}, err
	}))
}

func (s *operations) setDeviceSecret(ctx context.Context, in *SecretPath) error {
	d, err := s.Devices.Find(in.ID)
	if err != nil {
		return err
	}
	return s.Rollout.Secrets.Set(ctx, secret.OfDevice(d.ID), in.Name, in.Body.Value)
}

func (s *operations) showRecovery(ctx context.Context, in *devices.DevicePath) (Recoveries, error) {
	d, err := s.Devices.Find(in.ID)
	if err != nil {
		return Recoveries{}, err
	}
	list, err := s.Rollout.Secrets.Recoveries(d.ID)
	api.Note(ctx, "%d of %s (%s)", len(list), d.Label(), d.ID)
	return Recoveries{append([]secret.Recovery{}, list...)}, err
}

// Recoveries are recovery passwords of a device.
type Recoveries struct {
	Items []secret.Recovery `json:"items" nullable:"false" doc:"the newest first"`
}

// Names is a list of names.
type Names struct {
	Items []string `json:"items" nullable:"false"`
}
