// Command castpoint is a distribution point in one program: it boots machines
// over the network and sends them images by encrypted multicast.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/images"
	"castpoint/cmd/castpoint/library"
	"castpoint/cmd/castpoint/machines"
	"castpoint/cmd/castpoint/rollouts"
	"castpoint/cmd/castpoint/server"
	"castpoint/cmd/castpoint/sessions"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/internal/config"
)

// version is stamped by the linker.
var version = "unknown"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], terminal.Safe(os.Stdout), terminal.Safe(os.Stderr)))
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return command.Execute(ctx, newRoot(), args, stdout, stderr, cli.ExitCode)
}

func newRoot() *cobra.Command {
	o := &cli.Options{Build: build()}
	root := command.Group("castpoint", "Distribution point: network boot and encrypted multicast of images",
		server.NewServe(o),
		library.NewContent(o),
		machines.NewDHCP(o),
		machines.NewDevice(o), rollouts.NewCollection(o), rollouts.NewSequence(o), rollouts.NewDeployment(o), rollouts.NewRun(o),
		machines.NewExplain(o),
		server.NewAccess(o),
		server.NewAudit(o),
		server.NewConfig(o),
		server.NewLog(o),
		server.NewNotify(o),
		server.NewStatus(o),
		server.NewReload(o),
		server.NewDoctor(o),
		server.NewBackup(o), server.NewRestore(o),
		images.NewWIM(o),
		images.NewBCD(o),
		library.NewAssets(o),
		library.NewBootenv(o),
		newLab(o),
		sessions.NewSession(o),
		sessions.NewToken(o),
		command.NewReceive("castpoint"),
		newOpenAPI(), newMan(o), newInspectFiles(),
		newVersion(o),
	)
	root.Long = `castpoint is a distribution point in one program: it boots bare machines over the
network (DHCP or ProxyDHCP, TFTP, HTTP) and sends them WIM images by encrypted
multicast, to all of them at once.

Admin commands work on the data folder, that of --data or of the settings: through the
running server when there is one, by themselves otherwise. With --server URL and
--token SECRET they work on a server elsewhere.

Exit codes: 0 done, 1 failed, 2 wrong call, 3 partly done, 4 not found, 5 refused.`
	root.PersistentFlags().StringVar(&o.Data, "data", cli.DefaultData, "`FOLDER` of the library, certificate and state, before that of the settings")
	// Without a flag, the folder of the server that this host has by its settings.
	if c, err := config.Load(""); err == nil {
		o.Data = c.Data
	}
	o.Remote.Flags(root.PersistentFlags())
	o.AddWatch(root)
	cli.AddCompletion(root, o)
	return root
}
