// Package object keeps objects on the disk: immutable files that are named by the SHA-256 of
// their bytes. An object appears whole or not at all, whatever happens to the process, the
// disk and the power, and goes when nothing refers to it any more.
//
// What refers to objects is the business of the caller, who says so with each request that
// may delete some. An Addition makes objects, in this order:
//
//  1. Its need of disk space is promised to it, beside a reserve and other additions.
//  2. Each source is cloned, linked or copied into a temporary file while its SHA-256 and the
//     hashes of its blocks are computed, and written to the disk. What an interrupted
//     addition has copied of a large file is not copied again.
//  3. Each object is marked as pending and pinned, the temporary file gets the object's name,
//     and its manifest is written.
//  4. The caller writes down, durably, what refers to the objects.
//  5. At the end the pins are given back, and what nothing refers to is deleted.
//
// A crash leaves temporary files and pending marks, and the next Recover removes them with
// what they stand for.
package object
