package rollout

import "castpoint/deploy/runs"

type (
	// Run is one sequence on one device.
	Run = runs.Run
	// StepRecord is what is known of a step of a run.
	StepRecord = runs.StepRecord
	// State is how far a run is.
	State = runs.State
)

// The states.
const (
	StateRunning    = runs.StateRunning
	StateAsking     = runs.StateAsking
	StateRestarting = runs.StateRestarting
	StateSucceeded  = runs.StateSucceeded
	StateFailed     = runs.StateFailed
	StateCancelled  = runs.StateCancelled
)
