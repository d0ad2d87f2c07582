// Package facts finds out what the machine is that the agent runs on: maker, model,
// serial number, processor, memory, firmware, disks and network cards, as the
// conditions of task sequences ask for them. Linux has them below /sys and /proc,
// Windows in its registry; what neither says is read out of the SMBIOS tables.
package facts
