// Package web is what a distribution point says over HTTPS and HTTP apart from
// boot files: the join listener, to which machines come (package join), and the admin
// listeners, on loopback and on a socket in the data folder, with the admin API
// (package admin), the console and the metrics.
//
// The two listeners share no handler: nothing of the admin API can be reached
// through the join listener.
package web
