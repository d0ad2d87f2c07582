// Package library is the library of a distribution point on the disk: contents are added,
// changed, validated, repaired, carried elsewhere and removed, and each of that happens
// whole or not at all, whatever happens to the process, the disk and the power. The bytes
// of their files are objects, which package object keeps.
package library
