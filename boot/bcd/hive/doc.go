// Package hive reads and writes registry hives (regf), as far as boot
// configuration needs them: whole in memory, up to 16 MiB, with one security
// descriptor for all keys.
//
// A hive is a tree of keys with named, typed values ([Key], [Value]). In the file
// they are cells, the cells are in bins, and the bins are behind a base block of
// 4096 bytes.
//
// Reading takes nothing on trust: every cell that is followed must start where
// the bins say that a cell starts, and be used once. What is wrong is reported
// with its offset in the file ([CorruptError]). What is only odd is kept in
// [Hive.Notes].
//
// docs/bcd.md describes the bytes.
package hive
