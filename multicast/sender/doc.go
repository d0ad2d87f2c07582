// Package sender sends a session: it admits members, knows what each of them lacks,
// decides what goes out next, and says good-bye to those that are too slow or gone.
//
// Three goroutines share a session, under one lock: one sends what the schedule picks,
// one reads reports, one sends beacons and looks after members.
package sender
