// Package windows boots machines on Microsoft's own signed chain: it says which
// first stage a machine gets ([Chain.Plan]), and serves what the boot manager asks
// for after it ([Chain.Open]): a boot configuration made for the machine, the boot
// files out of its boot image, and the WIM with the agent added.
package windows
