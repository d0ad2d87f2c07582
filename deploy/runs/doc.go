// Package runs is the record of a run: one sequence on one device, over all restarts,
// with its steps, what comes next, and what of it is shown.
package runs
