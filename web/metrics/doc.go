// Package metrics gives Prometheus what a distribution point counts: docs/metrics.md
// names every metric, and a test compares the page with the registry.
//
// Counts of what happens are made as it happens, by the methods of [Metrics]. What
// is a state is asked for when Prometheus asks, by [Config.Read].
package metrics
