// Package policy decides what a machine boots: [Planner] looks at its firmware,
// its settings, its record and the loader files that there are, and gives the plan
// with the reason for it.
package policy
