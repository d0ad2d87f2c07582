// Package bootenv builds castpoint's Linux boot environment: a kernel and an
// initramfs that bring up the network and run the agent.
//
// Terms:
//
//   - the initramfs is a cpio archive (newc format), compressed, that the
//     kernel unpacks into memory and whose /init it runs as process 1;
//   - /init is a busybox shell script of ours (rootfs/init); it loads drivers,
//     gets an address and runs /bin/castagent;
//   - a module is a kernel driver; modules.dep says which needs which, and
//     modules.alias which fits what hardware.
//
// Order of events in [Build]: check that kernel, modules, busybox and agent
// belong together; choose modules and everything they need; add tools with
// their shared libraries; write the archive, sorted and without times, so that
// the same input gives the same bytes; put both files into place.
package bootenv
