// Package value has what elements of boot configuration are set to, and their
// bytes in a store: text, numbers, references to other objects ([GUID]), and
// devices ([Device]): the device that was booted from, a partition, a RAM disk
// made from a WIM.
//
// [Decode] takes nothing on trust, and never fails: what cannot be understood is
// kept as it is ([Raw]).
//
// docs/bcd.md describes the bytes.
package value
