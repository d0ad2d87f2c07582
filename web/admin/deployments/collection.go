package deployments

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/named"
	"castpoint/deploy/rollout"
	"castpoint/web/access"
	"castpoint/web/admin/devices"
	"castpoint/web/api"
)

func (s *operations) collectionOperations(a *api.API) {
	const tag = "collections"
	api.Answer(a, api.Operation{
		ID: "list-collections", Method: http.MethodGet, Path: "/collections", Scope: access.Read, Tag: tag,
		Summary: "List collections",
		About:   "In the order of their names.",
	}, rolled(s, func(_ context.Context, in *api.PageQuery) (api.Page[collection.Collection], error) {
		return api.Cut(s.Rollout.Collections.All(), func(c *collection.Collection) string { return strings.ToLower(c.Name) }, *in), nil
	}))
	api.Answer(a, api.Operation{
		ID: "add-collection", Method: http.MethodPost, Path: "/collections", Scope: access.Operate, Tag: tag, Status: http.StatusCreated,
		Summary: "Make a collection",
		About:   "Devices are in it by name or by rule. Secret variables are set by operations of their own.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, func(ctx context.Context, in *struct{ Body AddCollection }) (collection.Collection, error) {
		c := in.Body
		return s.Rollout.Collections.Put(ctx, collection.Collection{
			Name: c.Name, Notes: c.Notes, Devices: c.Devices, Except: c.Except, Rules: c.Rules, Variables: c.Variables,
		})
	}))
	api.Answer(a, api.Operation{
		ID: "get-collection", Method: http.MethodGet, Path: "/collections/{id}", Scope: access.Read, Tag: tag,
		Summary: "A collection",
		About:   "Its list and its rules; list-members says which devices that makes.",
	}, rolled(s, func(_ context.Context, in *NamedPath) (collection.Collection, error) {
		return s.Rollout.Collections.Get(in.ID)
	}))
	api.Answer(a, api.Operation{
		ID: "set-collection", Method: http.MethodPatch, Path: "/collections/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Change a collection",
		About:   "Fields that are left out stay. devices, except and rules replace what there was, add_devices, remove_devices and add_rules change it.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, s.setCollection))
	api.Act(a, api.Operation{
		ID: "remove-collection", Method: http.MethodDelete, Path: "/collections/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Delete a collection with its variables",
		About:   "Refused while a deployment is for it.",
		Errors:  []int{http.StatusConflict},
	}, rolledAct(s, func(ctx context.Context, in *NamedPath) error { return s.Rollout.RemoveCollection(ctx, in.ID) }))
	api.Answer(a, api.Operation{
		ID: "list-members", Method: http.MethodGet, Path: "/collections/{id}/members", Scope: access.Read, Tag: tag,
		Summary: "The devices that are in a collection now",
		About:   "Rules are looked at anew for each call. Inventories are left out: get-device has them.",
	}, rolled(s, func(_ context.Context, in *struct {
		NamedPath
		api.LongQuery
	}) (Members, error) {
		list, untold, err := s.Rollout.Collections.Members(in.ID)
		m := Members{Page: api.CutPlaces(list, in.LongQuery), Untold: untold}
		for i := range m.Items {
			m.Items[i].Inventory = nil
		}
		return m, err
	}))
	api.Act(a, api.Operation{
		ID: "set-collection-secret", Method: http.MethodPut, Path: "/collections/{id}/secrets/{name}", Scope: access.Operate, Tag: tag,
		Summary: "Set a secret variable of a collection; an empty value takes it away",
		About:   "Secret variables are kept encrypted and given to a machine for the time of its run. No operation shows them again.",
	}, rolledAct(s, func(ctx context.Context, in *SecretPath) error {
		return s.Rollout.Collections.SetSecret(ctx, in.ID, in.Name, in.Body.Value)
	}))
}

// NamedPath names a collection, a sequence or a deployment.
type NamedPath struct {
	ID string `path:"id" doc:"id, name, or the beginning of either when only one has it"`
}

// SecretPath names a secret variable, and has its value.
type SecretPath struct {
	NamedPath
	Name string `path:"name" doc:"of the variable"`
	Body struct {
		Value string `json:"value" doc:"never shown again"`
	}
}

// AddCollection asks for a collection.
type AddCollection struct {
	Name      string                  `json:"name"`
	Notes     string                  `json:"notes,omitempty"`
	Devices   []string                `json:"devices,omitempty"`
	Except    []string                `json:"except,omitempty" doc:"devices that no rule brings in"`
	Rules     []collection.MemberRule `json:"rules,omitempty"`
	Variables map[string]string       `json:"variables,omitempty"`
}

// SetCollection says what is to be changed; fields that are left out stay.
type SetCollection struct {
	Name          *string                  `json:"name,omitempty"`
	Notes         *string                  `json:"notes,omitempty"`
	Devices       *[]string                `json:"devices,omitempty"`
	AddDevices    []string                 `json:"add_devices,omitempty"`
	RemoveDevices []string                 `json:"remove_devices,omitempty"`
	Except        *[]string                `json:"except,omitempty"`
	Rules         *[]collection.MemberRule `json:"rules,omitempty"`
	AddRules      []collection.MemberRule  `json:"add_rules,omitempty"`
	Variables     map[string]*string       `json:"variables,omitempty" doc:"null takes one away"`
}

// Members are the devices of a collection.
type Members struct {
	api.Page[deploy.Device]
	Untold int `json:"untold" doc:"devices of which it is known when their agent has reported what they are"`
}

func (s *operations) setCollection(ctx context.Context, in *struct {
	NamedPath
	Body SetCollection
}) (collection.Collection, error) {
	c, err := s.Rollout.Collections.Get(in.ID)
	if err != nil {
		return c, err
	}
	req := &in.Body
	for to, from := range map[*string]*string{&c.Name: req.Name, &c.Notes: req.Notes} {
		if from != nil {
			*to = *from
		}
	}
	if req.Devices != nil {
		c.Devices = *req.Devices
	}
	if req.Except != nil {
		c.Except = *req.Except
	}
	if req.Rules != nil {
		c.Rules = *req.Rules
	}
	c.Rules = append(c.Rules, req.AddRules...)
	c.Devices = append(c.Devices, req.AddDevices...)
	for _, text := range req.RemoveDevices {
		d, err := s.Devices.Find(text)
		if err != nil {
			return c, err
		}
		kept := []string{}
		for _, id := range c.Devices {
			if id != d.ID {
				kept = append(kept, id)
			}
		}
		if len(kept) == len(c.Devices) {
			return c, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "a device that a rule brings in goes to its exceptions", "device %s is not on the list of collection %s", d.Label(), c.Name)
		}
		c.Devices = kept
	}
	for name, value := range req.Variables {
		if value == nil {
			delete(c.Variables, name)
			continue
		}
		if c.Variables == nil {
			c.Variables = make(map[string]string)
		}
		c.Variables[name] = *value
	}
	return s.Rollout.Collections.Put(ctx, c)
}

// rolled makes an operation one that needs deployments.
func rolled[I, O any](s *operations, f func(context.Context, *I) (O, error)) func(context.Context, *I) (O, error) {
	return func(ctx context.Context, in *I) (out O, err error) {
		if s.Rollout == nil || s.Devices == nil || s.Monitor == nil {
			return out, devices.NoRecords()
		}
		out, err = f(ctx, in)
		return out, rolloutProblem(err)
	}
}

func rolledAct[I any](s *operations, f func(context.Context, *I) error) func(context.Context, *I) error {
	run := rolled(s, func(ctx context.Context, in *I) (struct{}, error) { return struct{}{}, f(ctx, in) })
	return func(ctx context.Context, in *I) error {
		_, err := run(ctx, in)
		return err
	}
}

// rolloutProblem says which status an error of deployments is.
func rolloutProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, named.ErrNotFound):
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "", "%v", err)
	case errors.Is(err, named.ErrInvalid), errors.Is(err, named.ErrAmbiguous):
		return api.Refusal(http.StatusBadRequest, protocol.CodeInvalid, "", "%v", err)
	case errors.Is(err, named.ErrExists), errors.Is(err, named.ErrInUse), errors.Is(err, rollout.ErrRefused), errors.Is(err, rollout.ErrSize):
		return api.Refusal(http.StatusConflict, protocol.CodeRefused, "", "%v", err)
	}
	return devices.Problem(err)
}
