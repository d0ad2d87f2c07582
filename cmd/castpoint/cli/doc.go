// Package cli is what the commands of castpoint have in common: the flags that every one
// has, the way to a server (that of the data folder, one elsewhere, or none), exit codes,
// --watch, and the completion of names.
//
// The commands are in rooms like those of the console; each exports the constructors of
// its commands, which take [Options].
package cli
