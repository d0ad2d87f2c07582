// Package boot says what is asked and answered when a machine boots from the
// network: who asks ([Client]), how it is to boot ([Settings], [Record]), what it
// gets ([Plan]), and by which names it asks for boot files. The rooms below it
// decide, and hold and serve the files.
//
// Terms:
//
//   - firmware is what the machine has built in: BIOS PXE, UEFI PXE, UEFI HTTP
//     boot. It says in DHCP option 93 which of them it is ([Arch]);
//   - the first stage is the first program the firmware fetches: an iPXE binary
//     from a loader folder (source.Loaders);
//   - the script is what iPXE fetches next by HTTP: text made for one device,
//     which names a kernel, an initramfs and their arguments;
//   - a boot image is a content of the library with a kernel and an initramfs;
//   - a ticket is what the boot environment needs to find and trust this server:
//     address, certificate hash and a token for one use ([Ticket]).
//
// Order of events for one machine:
//
//  1. firmware asks by DHCP; policy.Planner answers with the first stage;
//  2. firmware fetches the first stage by TFTP or HTTP out of bootfile.Space;
//  3. iPXE asks by DHCP again and says that it is iPXE; policy.Planner answers with
//     the URL of the script, never with the first stage (that would loop);
//  4. iPXE fetches the script; bootfile.Space makes it for that machine, with a ticket;
//  5. iPXE fetches kernel and initramfs by HTTP out of bootfile.Space and starts them.
//
// TFTP and HTTP share one name space: every name that works over one works
// over the other.
package boot
