package deployments

import (
	"context"
	"io"
	"net/http"

	"castpoint/agent/protocol"
	"castpoint/deploy/rollout"
	"castpoint/web/access"
	"castpoint/web/admin/devices"
	"castpoint/web/api"
	"castpoint/web/delivery"
)

func (s *operations) runOperations(a *api.API) {
	const tag = "runs"
	api.Answer(a, api.Operation{
		ID: "get-run", Method: http.MethodGet, Path: "/runs/{id}", Scope: access.Read, Tag: tag,
		Summary: "A run of a task sequence: its steps and logs",
		About:   "Each step with its state, its times, its exit code and the end of its output.",
	}, rolled(s, s.getRun))
	api.Answer(a, api.Operation{
		ID: "list-device-runs", Method: http.MethodGet, Path: "/devices/{id}/runs", Scope: access.Read, Tag: tag,
		Summary: "All runs of a device, oldest first",
		About:   "A run is one sequence on the device, over all its restarts.",
	}, rolled(s, func(ctx context.Context, in *struct {
		devices.DevicePath
		api.LongQuery
	}) (api.Page[rollout.Run], error) {
		list, err := s.Rollout.RunsOf(ctx, in.ID)
		return api.CutPlaces(list, in.LongQuery), err
	}))
	api.Answer(a, api.Operation{
		ID: "retry-run", Method: http.MethodPost, Path: "/runs/{id}/retry", Scope: access.Operate, Tag: tag,
		Summary: "Try a run again that has failed",
		About:   "Only one that has failed or was cancelled. It goes on at the step that failed, or at another. The body may be left out.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, func(ctx context.Context, in *struct {
		RunPath
		Body *RetryRun
	}) (rollout.Run, error) {
		var req RetryRun
		if in.Body != nil {
			req = *in.Body
		}
		vars := make(map[string]protocol.VariableValue)
		for name, value := range req.Variables {
			vars[name] = protocol.VariableValue{Value: value}
		}
		id, err := s.Rollout.FindRun(in.ID)
		if err != nil {
			return rollout.Run{}, err
		}
		return s.Rollout.Retry(ctx, id, req.Step, access.Name(ctx), vars)
	}))
	api.Answer(a, api.Operation{
		ID: "cancel-run", Method: http.MethodPost, Path: "/runs/{id}/cancel", Scope: access.Operate, Tag: tag,
		Summary: "Have a machine stop its run",
		About:   "The machine learns it with its next report, and stays on.",
		Errors:  []int{http.StatusConflict},
	}, rolled(s, func(ctx context.Context, in *RunPath) (rollout.Run, error) {
		id, err := s.Rollout.FindRun(in.ID)
		if err != nil {
			return rollout.Run{}, err
		}
		return s.Rollout.Cancel(ctx, id, access.Name(ctx))
	}))
	api.Act(a, api.Operation{
		ID: "answer-run", Method: http.MethodPost, Path: "/runs/{id}/answers", Scope: access.Operate, Tag: tag,
		Summary: "Answer what a run asks",
		About:   "Answers go to the machine, which asks for them while it shows the questions on its screen, too. Answers to secret questions are not shown again.",
		Errors:  []int{http.StatusConflict},
	}, rolledAct(s, func(ctx context.Context, in *struct {
		RunPath
		Body AnswerRun
	}) error {
		id, err := s.Rollout.FindRun(in.ID)
		if err != nil {
			return err
		}
		return s.Rollout.Answer(ctx, id, in.Body.Answers, access.Name(ctx))
	}))
	api.Serve(a, api.Operation{
		ID: "get-run-log", Method: http.MethodGet, Path: "/runs/{id}/logs/{name}", Scope: access.Read, Tag: tag, Sends: "text/plain",
		Summary: "A log of a run",
		About:   "As the machine has sent it.",
		Errors:  []int{http.StatusBadRequest},
	}, s.sendLog)
}

// RunPath names a run.
type RunPath struct {
	ID string `path:"id" doc:"id of the run, or the device whose last run is meant"`
}

// RetryRun says where a run is to go on.
type RetryRun struct {
	Step      string            `json:"step,omitempty" doc:"path, number or name of the step; left out for the one that failed"`
	Variables map[string]string `json:"variables,omitempty" doc:"set before"`
}

// AnswerRun has the answers to questions, by variable.
type AnswerRun struct {
	Answers map[string]string `json:"answers"`
}

// RunDetails is a run with its steps and the names of its logs.
type RunDetails struct {
	rollout.Run
	DeploymentName string               `json:"deployment_name"`
	Steps          []rollout.StepRecord `json:"steps" nullable:"false"`
	Logs           []delivery.Log       `json:"logs,omitempty"`
}

func (s *operations) getRun(ctx context.Context, in *RunPath) (RunDetails, error) {
	id, err := s.Rollout.FindRun(in.ID)
	if err != nil {
		return RunDetails{}, err
	}
	run, steps, err := s.Rollout.Run(ctx, id)
	if err != nil {
		return RunDetails{}, err
	}
	out := RunDetails{Run: run, Steps: append([]rollout.StepRecord{}, steps...)}
	if d, err := s.Rollout.Deployment(run.Deployment); err == nil {
		out.DeploymentName = d.Name
	}
	if s.Delivery != nil {
		out.Logs, err = s.Delivery.Logs(&run)
	}
	return out, err
}

func (s *operations) sendLog(ctx context.Context, in *struct {
	RunPath
	Name string `path:"name" doc:"of the log, as get-run lists them"`
}, w http.ResponseWriter, _ *http.Request) error {
	if s.Delivery == nil {
		return devices.NoRecords()
	}
	id, err := s.Rollout.FindRun(in.ID)
	if err != nil {
		return rolloutProblem(err)
	}
	run, _, err := s.Rollout.Run(ctx, id)
	if err != nil {
		return rolloutProblem(err)
	}
	f, err := s.Delivery.OpenLog(&run, in.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.Copy(w, f) // the client may have gone
	return nil
}
