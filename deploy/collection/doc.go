// Package collection is about sets of devices: those on a list, those that fit a
// rule, and machines that are not on record.
//
// Whether a machine is in a collection is asked for each packet: Holds and everything
// that is found by it wait for no disk.
package collection
