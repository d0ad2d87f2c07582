// Package server has the commands about a server itself: its settings, state and log, who
// may use it, its backups, and what is wrong with it.
package server
