// Package winpe takes a WinPE boot image (a WIM) for what a machine needs to
// boot it through Microsoft's own signed chain: the boot files that lie in it,
// and the image itself with castpoint's agent added.
//
// Terms:
//
//   - a boot image is one image of a WIM file with a Windows PE in it;
//   - a boot file is what firmware and boot manager ask for by name before
//     Windows PE runs: loaders, boot.sdi, fonts, boot.stl, policies;
//   - a loader is a boot file that is a program, most of them signed;
//   - the extra folders are where boot files come from that an image lacks:
//     installation media, the Windows ADK, or single files;
//   - the overlay is the WIM as one machine gets it, see overlay.Composite.
//
// Order of events: [Open] reads the WIM's tables and finds the boot files.
// [Image.Missing] names what is not there and what does not work without it,
// [Image.Signers] says who signed a loader. While machines boot, [Image.Find]
// and [Image.Read] answer the names that the boot manager asks for, and
// [Image.Overlay] makes the machine's WIM.
package winpe
