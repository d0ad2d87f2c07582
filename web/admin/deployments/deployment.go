package deployments

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/web/access"
	"castpoint/web/admin/devices"
	"castpoint/web/api"
)

func (s *operations) deploymentOperations(a *api.API) {
	const tag = "deployments"
	api.Answer(a, api.Operation{
		ID: "list-deployments", Method: http.MethodGet, Path: "/deployments", Scope: access.Read, Tag: tag,
		Summary: "List deployments, and how far they are",
		About:   "In the order of their names, with the number of devices in each state.",
	}, rolled(s, s.listDeployments))
	api.Answer(a, api.Operation{
		ID: "add-deployment", Method: http.MethodPost, Path: "/deployments", Scope: access.Operate, Tag: tag, Status: http.StatusCreated,
		Summary: "Deploy a task sequence to a collection",
		About:   "A required deployment for more devices than max_size is refused until confirm_size says how many are meant.",
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
	}, rolled(s, s.addDeployment))
	api.Answer(a, api.Operation{
		ID: "get-deployment", Method: http.MethodGet, Path: "/deployments/{id}", Scope: access.Read, Tag: tag,
		Summary: "A deployment, how far it is, and each of its devices",
		About:   "Each device has its state and, when there is one, its run. warnings says what may keep machines from running it.",
	}, rolled(s, func(_ context.Context, in *struct {
		NamedPath
		api.LongQuery
	}) (DeploymentStatus, error) {
		d, counts, targets, err := s.Monitor.Status(in.ID)
		if err != nil {
			return DeploymentStatus{}, err
		}
		page := api.CutPlaces(targets, in.LongQuery)
		return DeploymentStatus{Deployment: d, CollectionName: s.collectionName(d.Collection), Counts: counts, Targets: page.Items, Next: page.Next, Warnings: s.deploymentWarnings(&d)}, nil
	}))
	api.Answer(a, api.Operation{
		ID: "set-deployment", Method: http.MethodPatch, Path: "/deployments/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Change a deployment",
		About:   "Fields that are left out stay. Machines that run it go on as they began.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, s.setDeployment))
	api.Act(a, api.Operation{
		ID: "remove-deployment", Method: http.MethodDelete, Path: "/deployments/{id}", Scope: access.Operate, Tag: tag,
		Summary: "Delete a deployment with the history of its runs",
		About:   "Refused while a machine runs it.",
		Errors:  []int{http.StatusConflict},
	}, rolledAct(s, func(ctx context.Context, in *NamedPath) error { return s.Rollout.RemoveDeployment(ctx, in.ID) }))
	api.Answer(a, api.Operation{
		ID: "deploy-again", Method: http.MethodPost, Path: "/deployments/{id}/again", Scope: access.Operate, Tag: tag,
		Summary: "Have a deployment run once more on devices, at their next network boot",
		About:   "Whatever rerun says. Devices are named by id, name, UUID or MAC.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, func(ctx context.Context, in *struct {
		NamedPath
		Body DeployAgain
	}) (Names, error) {
		labels, err := s.Rollout.Again(ctx, in.ID, in.Body.Devices, access.Name(ctx))
		return Names{append([]string{}, labels...)}, err
	}))
	api.Serve(a, api.Operation{
		ID: "get-deployment-report", Method: http.MethodGet, Path: "/deployments/{id}/report", Scope: access.Read, Tag: tag, Sends: "text/csv",
		Summary: "The devices of a deployment as a table (CSV)",
		About:   "A line for each device: state, step, times, error.",
	}, func(_ context.Context, in *NamedPath, w http.ResponseWriter, _ *http.Request) error {
		if s.Monitor == nil {
			return devices.NoRecords()
		}
		_, _, targets, err := s.Monitor.Status(in.ID)
		var table bytes.Buffer
		if err == nil {
			err = monitor.WriteCSV(&table, targets)
		}
		if err != nil {
			return rolloutProblem(err)
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="deployment.csv"`)
		_, _ = w.Write(table.Bytes()) // the client may have gone
		return nil
	})
}

// DeployAgain names devices.
type DeployAgain struct {
	Devices []string `json:"devices" minItems:"1"`
}

// DeploymentItem is a deployment in a list.
type DeploymentItem struct {
	rollout.Deployment
	CollectionName string         `json:"collection_name"`
	Counts         monitor.Counts `json:"counts"`
}

// DeploymentStatus is a deployment and how far it is.
type DeploymentStatus struct {
	Deployment rollout.Deployment `json:"deployment"`
	// CollectionName is what its collection is called.
	CollectionName string           `json:"collection_name"`
	Counts         monitor.Counts   `json:"counts"`
	Targets        []monitor.Target `json:"targets" nullable:"false" doc:"its devices; counts has their number"`
	Next           string           `json:"next,omitempty" doc:"after of the next page of targets; left out on the last"`
	Warnings       []string         `json:"warnings,omitempty" doc:"what may keep machines from running it"`
}

// collectionName is what a collection is called, its id when it is gone.
func (s *operations) collectionName(id string) string {
	if c := s.Rollout.Collections.ByID(id); c != nil {
		return c.Name
	}
	return id
}

// deploymentWarnings says what may keep machines from running a deployment.
func (s *operations) deploymentWarnings(d *rollout.Deployment) (list []string) {
	names, seq, vars := s.Rollout.Missing(d)
	for _, name := range names {
		how := fmt.Sprintf("castpoint collection set %s --variable %s=VALUE", d.Collection, name)
		if seq.Variables[name].Secret {
			how = fmt.Sprintf("castpoint collection secret %s %s", d.Collection, name)
		}
		list = append(list, fmt.Sprintf("variable %s has no value in the collection: devices without one of their own cannot run it: %s", name, how))
	}
	if seq == nil {
		return list
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if vars[name] != "" && seq.Variables[name].Secret {
			list = append(list, fmt.Sprintf("variable %s is secret in the sequence, and the collection shows a value of it: castpoint collection set %s --variable %s=, then castpoint collection secret %s %s",
				name, d.Collection, name, d.Collection, name))
		}
	}
	for _, name := range seq.ContentNames(func(name string) (string, bool) { return vars[name], vars[name] != "" }) {
		if err := s.whole(name); err != nil {
			list = append(list, fmt.Sprintf("content of its sequence: %v", err))
		}
	}
	if seq.BootImage != "" {
		if err := s.whole(seq.BootImage); err != nil {
			list = append(list, fmt.Sprintf("boot image of its sequence: %v", err))
		}
	}
	return list
}

// whole says what keeps a content from being given to machines.
func (s *operations) whole(name string) error {
	ct, err := s.Library.Get(name)
	if err != nil {
		return err
	}
	return ct.Damage()
}

// AddDeployment asks for a deployment.
type AddDeployment struct {
	Name       string `json:"name"`
	Sequence   string `json:"sequence"`
	Collection string `json:"collection" doc:"id or name"`
	SetDeployment
}

// SetDeployment says what is to be changed; fields that are left out stay.
type SetDeployment struct {
	Rename      *string          `json:"rename,omitempty" doc:"another name"`
	Notes       *string          `json:"notes,omitempty"`
	NewSequence *string          `json:"new_sequence,omitempty" doc:"another sequence"`
	Purpose     *rollout.Purpose `json:"purpose,omitempty" enum:"required,available"`
	Disabled    *bool            `json:"disabled,omitempty"`
	NetworkOnly *bool            `json:"network_only,omitempty" doc:"only for machines that have booted from the network"`
	Hidden      *bool            `json:"hidden,omitempty"`
	Start       *time.Time       `json:"start,omitempty" doc:"0001-01-01T00:00:00Z for none"`
	End         *time.Time       `json:"end,omitempty"`
	Hours       *string          `json:"hours,omitempty" doc:"22:00-05:00"`
	Rerun       *rollout.Rerun   `json:"rerun,omitempty" enum:"never,if-failed,if-succeeded,always"`
	Confirm     *bool            `json:"confirm,omitempty" doc:"somebody at the machine has to say yes"`
	Password    *string          `json:"password,omitempty" doc:"to be typed at the machine; empty for none"`
	MaxSize     *int             `json:"max_size,omitempty"`
	ConfirmSize int              `json:"confirm_size,omitempty" doc:"so many devices are meant, when it is required"`
	Wake        *bool            `json:"wake,omitempty"`
	After       *string          `json:"after,omitempty"`
	AlertBelow  *int             `json:"alert_below,omitempty" doc:"percent"`
	AlertAfter  *int             `json:"alert_after,omitempty" doc:"devices"`
}

// apply changes a deployment.
func (req *SetDeployment) apply(d *rollout.Deployment) {
	set(&d.Name, req.Rename)
	set(&d.Notes, req.Notes)
	set(&d.Sequence, req.NewSequence)
	set(&d.Purpose, req.Purpose)
	set(&d.Disabled, req.Disabled)
	set(&d.NetworkOnly, req.NetworkOnly)
	set(&d.Hidden, req.Hidden)
	set(&d.Start, req.Start)
	set(&d.End, req.End)
	set(&d.Hours, req.Hours)
	set(&d.Rerun, req.Rerun)
	set(&d.Confirm, req.Confirm)
	set(&d.MaxSize, req.MaxSize)
	set(&d.Wake, req.Wake)
	set(&d.After, req.After)
	set(&d.AlertBelow, req.AlertBelow)
	set(&d.AlertAfter, req.AlertAfter)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *operations) listDeployments(_ context.Context, in *api.PageQuery) (api.Page[DeploymentItem], error) {
	page := api.Cut(s.Rollout.Deployments(), func(d *rollout.Deployment) string { return strings.ToLower(d.Name) }, *in)
	list := api.Page[DeploymentItem]{Items: []DeploymentItem{}, Total: page.Total, Next: page.Next}
	for _, d := range page.Items {
		item := DeploymentItem{Deployment: d}
		if c, err := s.Rollout.Collections.Get(d.Collection); err == nil {
			item.CollectionName = c.Name
		}
		counts, err := s.Monitor.Counts(&d)
		if err != nil {
			continue // removed in this moment
		}
		item.Counts = counts
		list.Items = append(list.Items, item)
	}
	return list, nil
}

func (s *operations) addDeployment(ctx context.Context, in *struct{ Body AddDeployment }) (rollout.Deployment, error) {
	req := &in.Body
	d := rollout.Deployment{Name: req.Name, Sequence: req.Sequence, Collection: req.Collection}
	req.apply(&d)
	got, err := s.Rollout.PutDeployment(ctx, d, req.Password, req.ConfirmSize, access.Name(ctx))
	if err == nil {
		api.Note(ctx, "%s (%s): %s to %s, %s", got.Name, got.ID, got.Sequence, req.Collection, got.Purpose)
	}
	return got, err
}

func (s *operations) setDeployment(ctx context.Context, in *struct {
	NamedPath
	Body SetDeployment
}) (rollout.Deployment, error) {
	d, err := s.Rollout.Deployment(in.ID)
	if err != nil {
		return d, err
	}
	in.Body.apply(&d)
	return s.Rollout.PutDeployment(ctx, d, in.Body.Password, in.Body.ConfirmSize, access.Name(ctx))
}
