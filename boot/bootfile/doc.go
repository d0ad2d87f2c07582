// Package bootfile has the boot files under the names that firmware and loaders
// ask for: [Space] is one name space for TFTP and HTTP. It makes the scripts of iPXE
// and GRUB for each machine, and gives out loader files, kernels and initramfs;
// what belongs to Microsoft's chain it has from [windows.Chain].
package bootfile
