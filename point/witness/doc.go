// Package witness sees what happens between machines and the servers of the boot
// protocols: it tells the machines' timelines and the metrics, remembers what DHCP has
// answered lately, and knows which machine has an address, and whose record a machine is.
package witness
