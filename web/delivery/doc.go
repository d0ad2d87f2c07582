// Package delivery gives machines their task sequences: what the join listener says
// to those that run one, and takes from them.
//
// A machine shows the one-time token that it was booted with. That it may run, and
// what, is package rollout's business; here it is authenticated, gets the sequence
// with its variables and a ticket, and with the ticket may fetch the contents that its
// sequence names, and no others. Secrets leave the server in one answer only, that of
// POST protocol.PathRun, which uses the token up.
package delivery
