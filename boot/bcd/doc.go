// Package bcd writes Windows boot configuration stores from nothing and reads
// any of them.
//
// Terms:
//
//   - a store (BCD) is the file that a Windows boot manager reads before all
//     others: what to offer, what to load, from where, with which settings;
//   - a store is a registry hive, as package hive has it;
//   - an object is a key \Objects\{guid} with a type: the boot manager, a loader
//     entry, settings to inherit, options of a device ([Object], [ObjectType]);
//   - an element is one setting of an object, named by eight hexadecimal digits
//     whose first says its class, the second its format ([Element]): package
//     element lists them, package value has what they are set to;
//   - a device element says where a file is: the device that was booted from, a
//     partition, a RAM disk made from a WIM;
//   - an alias is what bcdedit calls a well-known object, for example {bootmgr}.
//
// Order of events when a machine boots WinPE from the network with a store made
// by [Ramdisk]: the boot manager reads the store, takes the entry that its
// default element names, fetches boot.sdi and the WIM over TFTP with the block
// and window size of the RAM disk options, makes a disk of both in memory and
// starts the entry's loader out of the WIM.
//
// Reading takes nothing on trust. What is wrong is reported with its offset in
// the file (hive.CorruptError). What is only odd is kept in [Store.Notes].
//
// docs/bcd.md describes the bytes.
package bcd
