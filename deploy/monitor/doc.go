// Package monitor watches deployments: how far they are, where each of their devices
// is, the report as a table, alerts when too many fail, and Wake-on-LAN before a
// required start.
//
// It asks package rollout and changes nothing there.
package monitor
