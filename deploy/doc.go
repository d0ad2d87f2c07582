// Package deploy knows the devices: which machines there are, what people say
// about them, and which of them may boot.
//
// Terms:
//
//   - a device is a machine on record. It is known by its SMBIOS UUID and by any
//     of its MACs; either alone is not an identity, because docks carry MACs from
//     machine to machine, and makers of mainboards sell many with one UUID;
//   - a shared MAC is one that several machines use (a dock, a USB card): it
//     identifies none of them;
//   - the state says whether a device may boot: known and imported ones may,
//     denied ones may not, waiting ones have asked and were not answered yet;
//   - a ruling is what follows for one machine that asks.
//
// All devices are in memory, because a ruling is asked for with every packet; the
// database has what outlives the process.
package deploy
