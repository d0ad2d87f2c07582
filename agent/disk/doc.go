// Package disk knows the disks of a machine: which there are, how they are divided
// and formatted, and where on them a deployment keeps its state.
//
// Terms:
//
//   - a plan is what a partition-disk step wants, placed on one disk: every
//     partition has a place, a number and, on GPT, a name of its own. It is made
//     before anything is written, so a layout that does not fit changes nothing;
//   - a volume is a partition of a plan and the file system on it;
//   - a script is what makes a plan true: of sfdisk under Linux, of diskpart
//     under Windows. Both are text and nothing else;
//   - the record is the state of a deployment in the gap between the partition
//     table and the first partition.
//
// Every partition begins at a MiB and has whole MiB, as both diskpart and sfdisk
// place them by themselves.
package disk
