// Package machine is what the steps of a task sequence do to a machine: divide and
// wipe disks, apply images, make disks bootable, add drivers, run programs. There
// are two of it: [Linux], castpoint's boot environment with programs of Debian, and
// [Windows], which uses what Windows and Windows PE have (diskpart, DISM, bcdboot,
// PowerShell, manage-bde).
//
// Terms:
//
//   - a program is run through [Programs] and in no other way, so a test sees
//     every command line and every script;
//   - a volume is a partition of the disk plan; it is reached by a folder: where
//     it is mounted under Linux, W:\ under Windows;
//   - staging is where an image file waits that is applied to a volume: under
//     Linux the end of the volume's own partition, which the file system does not
//     have until the image is applied.
//
// Both kinds compile for every system: what only one system can do (mounts, loop
// devices) is in files of that system.
package machine
