package main

import (
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/web"
)

func newContentAdd(o *options) *cobra.Command {
	var req web.AddContent
	var kernel string
	c := o.addJSON(&cobra.Command{
		Use:   "add {os-image|boot-image} [FILE]",
		Short: "Add an image to the library",
		Long: `Add copies an image into the library, checks it, and gives it an id. The file may
be removed afterwards. On an error nothing is left behind.

An OS image is a WIM. A boot image is a Linux kernel with its initramfs, as
castpoint bootenv build makes them.`,
		Example: `  castpoint content add os-image install.wim --multicast
  castpoint content add boot-image --kernel vmlinuz --initrd initrd --arch amd64 --name linux`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Kind = content.Kind(args[0])
			path := kernel
			switch {
			case len(args) == 2 && kernel != "":
				return command.Usage("say either FILE or --kernel")
			case len(args) == 2:
				path = args[1]
			case kernel == "":
				return command.Usage("say which file to add: castpoint content add %s FILE", args[0])
			}
			if req.Kind == content.KindOSImage && (kernel != "" || req.Initrd != "") {
				return command.Usage("--kernel and --initrd are for boot images")
			}
			for _, p := range []struct {
				from string
				to   *string
			}{{path, &req.Path}, {req.Initrd, &req.Initrd}} {
				if p.from == "" {
					continue
				}
				abs, err := filepath.Abs(p.from)
				if err != nil {
					return err
				}
				*p.to = abs
			}
			req.Distribution.Multicast = req.Distribution.Multicast || req.Distribution.MulticastOnly

			client, done, err := o.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			ctx, stop := command.Interrupted(cmd.Context())
			defer stop()
			progress, clear := meter(cmd.ErrOrStderr(), "add "+filepath.Base(path))
			var ct content.Content
			err = client.Stream(ctx, http.MethodPost, "/contents", req, progress, &ct)
			clear()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.json {
				return printJSON(out, ct)
			}
			var size int64
			for _, f := range ct.Files {
				size += f.Size
			}
			fmt.Fprintf(out, "added %s: %s, %s\n", ct.ID, ct.Name, agent.Size(size))
			return nil
		},
	})
	f := c.Flags()
	f.StringVar(&kernel, "kernel", "", "`FILE` of the kernel of a Linux boot image")
	f.StringVar(&req.Initrd, "initrd", "", "`FILE` of its initramfs")
	f.StringVar(&req.Name, "name", "", "`NAME` for people (default: from the image)")
	f.StringVar(&req.Version, "version", "", "`VERSION` (default: from the image)")
	f.StringVar(&req.Comment, "comment", "", "`TEXT` for people")
	f.IntVar(&req.Index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	f.StringVar(&req.Arch, "arch", "", "`ARCH`: amd64, arm64, 386, arm (default: from the image)")
	distributionFlags(f, &req.Distribution)
	return c
}
