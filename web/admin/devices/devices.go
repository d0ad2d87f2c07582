// Package devices is what the operations of the admin API do that are about devices: their
// records, and what has happened to them.
package devices

import (
	"castpoint/deploy"
	"castpoint/deploy/rollout"
	"castpoint/internal/event"
	"castpoint/web/api"
)

// Config is what the operations are about; each is nil when nothing is kept.
type Config struct {
	Devices  *deploy.Devices
	Timeline *event.Recorder
	Rollout  *rollout.Register
}

type operations struct{ Config }

// Register adds the operations to the API.
func Register(a *api.API, cfg Config) {
	s := &operations{cfg}
	s.deviceOperations(a)
	s.timelineOperations(a)
}
