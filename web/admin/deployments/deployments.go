// Package deployments is what the operations of the admin API do that are about collections,
// task sequences, deployments and their runs.
package deployments

import (
	"castpoint/content/library"
	"castpoint/deploy"
	"castpoint/deploy/monitor"
	"castpoint/deploy/rollout"
	"castpoint/web/api"
	"castpoint/web/delivery"
)

// Config is what the operations are about; all but the library are nil when nothing is
// kept.
type Config struct {
	Library  *library.Library
	Devices  *deploy.Devices
	Rollout  *rollout.Register
	Monitor  *monitor.Monitor
	Delivery *delivery.Delivery
}

type operations struct{ Config }

// Register adds the operations to the API.
func Register(a *api.API, cfg Config) {
	s := &operations{cfg}
	s.collectionOperations(a)
	s.deviceOperations(a)
	s.sequenceOperations(a)
	s.deploymentOperations(a)
	s.runOperations(a)
}
