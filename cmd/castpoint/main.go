// Command castpoint is a distribution point in one program: it boots machines
// over the network and sends them images by encrypted multicast.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
)

// version is stamped by the linker.
var version = "unknown"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return command.Execute(ctx, newRoot(), args, stdout, stderr, exitCode)
}

func newRoot() *cobra.Command {
	o := &options{build: build()}
	root := command.Group("castpoint", "Distribution point: network boot and encrypted multicast of images",
		newServe(o),
		command.Group("content", "Work with the content library",
			newContentAdd(o), newContentList(o), newContentShow(o), newContentSet(o), newContentUpdate(o), newContentAttach(o), newContentDetach(o), newContentValidate(o), newContentRepair(o),
			newContentRemove(o), newContentGC(o), newContentExport(o), newContentImport(o)),
		command.Group("dhcp", "Addresses and boot settings", newDHCPLeases(o), newDHCPSettings(o)),
		newDevice(o), newCollection(o), newSequence(o), newDeployment(o), newRun(o),
		newExplain(o),
		newAccess(o),
		newAudit(o),
		command.Group("config", "Work with the settings of castpoint serve", newConfigExample(), newConfigCheck(o), newConfigShow(o)),
		command.Group("log", "Work with the log of the running server", newLogLevel(o)),
		command.Group("notify", "Tell people that something needs them", newNotifyList(o), newNotifyTest(o)),
		newStatus(o),
		newReload(o),
		newDoctor(o),
		newBackup(o), newRestore(o),
		command.Group("wim", "Look into WIM files", newWIMInfo(o), newWIMList(o), newWIMExtract(o), newWIMVerify(o), newWIMBoot(o)),
		command.Group("bcd", "Look into boot configurations of Windows, and make them", newBCDShow(o), newBCDWrite(o)),
		command.Group("assets", "Import boot programs: iPXE, wimboot, shim and GRUB", newAssetsImport(o), newAssetsList(o), newAssetsRemove(o)),
		command.Group("bootenv", "Make boot environments", newBootenvBuild(o)),
		newLab(o),
		command.Group("session", "Work with multicast sessions of the running server",
			newSessionList(o), newSessionShow(o), newSessionStart(o), newSessionCancel(o), newSessionKick(o)),
		command.Group("token", "Admit receivers", newTokenCreate(o)),
		command.NewReceive("castpoint"),
		newOpenAPI(), newMan(o), newInspectFiles(),
		newVersion(o),
	)
	root.Long = `castpoint is a distribution point in one program: it boots bare machines over the
network (DHCP or ProxyDHCP, TFTP, HTTP) and sends them WIM images by encrypted
multicast, to all of them at once.

Admin commands work on the data folder: through the running server when there is
one, by themselves otherwise. With --server URL and --token SECRET they work on a
server elsewhere.

Exit codes: 0 done, 1 failed, 2 wrong call, 3 partly done, 4 not found, 5 refused.`
	root.PersistentFlags().StringVar(&o.data, "data", defaultData, "`FOLDER` of the library, certificate and state")
	o.remote.flags(root.PersistentFlags())
	o.addWatch(root)
	addCompletion(root, o)
	return root
}
