// Package library is the library of a distribution point on the disk: contents are added,
// changed, validated, repaired, carried elsewhere and removed, and objects appear whole or
// not at all, whatever happens to the process, the disk and the power.
package library
