// Package rollouts has the commands about collections, task sequences, deployments and
// runs.
package rollouts
