package rollout

import "castpoint/deploy/runs"

// What package runs calls its own, as everybody else knows it.
type (
	Run        = runs.Run
	StepRecord = runs.StepRecord
	State      = runs.State
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
