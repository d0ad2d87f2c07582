// Package monitor watches deployments: how far they are, where each of their devices
// is, the report as a table, alerts when too many fail, and Wake-on-LAN before a
// required start.
//
// It asks package rollout and changes nothing there, but that it says when it is time to
// look for machines that have not come back.
package monitor
