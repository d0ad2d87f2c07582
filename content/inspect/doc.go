// Package inspect finds out what the files are that somebody wants in the library, before
// anything is copied: a WIM, split or not, a kernel, a folder, or what is in an ISO image.
// It gives a content without files, and the [Source] of each file that it is to have.
//
// The files come from people and from networks. A server runs [Inspect] in a process of
// its own with limits first (package confine), and then goes on in its own.
package inspect
