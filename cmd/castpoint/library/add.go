package library

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/images"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/fetch"
)

func newAdd(o *cli.Options) *cobra.Command {
	var source sourceFlags
	var programs programFlags
	req := &source.req
	c := o.AddJSON(&cobra.Command{
		Use:   "add KIND [PATH]",
		Short: "Add a content to the library",
		Long: `Add copies files into the library, checks them, and gives them an id. The originals may
be removed afterwards. On an error nothing is left behind.

KIND        PATH
os-image        a WIM, ESD or split WIM (any of its parts; the others are looked for in its
                folder), or the ISO image of Windows setup media
boot-image      a WIM, or the ISO image of Windows setup media, whose boot files are
                taken too, or a Linux kernel with its initramfs, as castpoint bootenv
                build makes them
os-upgrade      the folder or the ISO image of Windows setup media
driver-package  a folder of drivers, or an ISO image of one
package         any folder or ISO image, with the programs to run in it

PATH may be the URL of a file. ISO images are read as they are, not mounted.
A URL is fetched first, into the data folder; interrupted, the same command goes on
from where it was.

A running server reads PATH itself. What its user may not read or does not see (a
service has a /tmp of its own) is read by this command and sent, and so is what is
here when the server is elsewhere (--server).`,
		Example: `  castpoint content add os-image install.wim --multicast
  castpoint content add os-image https://images.example.net/install.wim --sha256 HASH --fetch-rate 200mbit
  castpoint content add boot-image boot.wim --loaders windows.iso
  castpoint content add boot-image --kernel vmlinuz --initrd initrd --arch amd64 --name linux
  castpoint content add os-upgrade windows.iso --index 6
  castpoint content add package 7zip/ --name 7-Zip --program 'install=7z2409-x64.exe /S'
  castpoint content add driver-package drivers/latitude --name "Latitude 5450" --version A07`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Kind = content.Kind(args[0])
			if err := knownKind(req.Kind); err != nil {
				return err
			}
			err := source.resolveNew(args)
			if err != nil {
				return err
			}
			if req.Programs, err = programs.programs(nil); err != nil {
				return err
			}
			req.Distribution.Multicast = req.Distribution.Multicast || req.Distribution.MulticastOnly
			if req.Kind == content.KindBootImage && source.kernel == "" && !fetch.IsURL(req.Path) {
				images.FillArch(req.Path, req.Index, &req.Arch)
			}

			ct, err := addFiles(o, cmd, "", source.req, source.upload)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, ct)
			}
			_, err = fmt.Fprintf(out, "added %s: %s, %s\n", ct.ID, ct.Name, agent.Size(ct.Size()))
			if err == nil {
				err = printWIM(out, ct)
			}
			if err != nil {
				return err
			}
			return images.PrintBootReport(cmd.Context(), o, out, ct)
		},
	})
	f := c.Flags()
	source.add(f)
	f.StringVar(&req.Loaders, "loaders", "", "`PATH` of boot files that a WinPE boot image lacks: a folder (of the ADK, of installation media), an ISO image, another WIM, or one file")
	f.StringVar(&req.Name, "name", "", "`NAME` for people (default: from the image)")
	f.StringVar(&req.Comment, "comment", "", "`TEXT` for people")
	programs.add(f)
	distributionFlags(f, &req.Distribution)
	return c
}

// printWIM says which image of a WIM is meant, and what about the WIM is unusual.
func printWIM(out io.Writer, ct *content.Content) error {
	if len(ct.Images) > 1 {
		rows := [][]string{{"", "INDEX", "NAME", "EDITION", "VERSION", "ARCH", "SIZE"}}
		for _, i := range ct.Images {
			mark := ""
			if i.Index == ct.Index {
				mark = "*"
			}
			rows = append(rows, []string{mark, strconv.Itoa(i.Index), terminal.OrDash(i.Name), terminal.OrDash(i.Edition), terminal.OrDash(i.Version), terminal.OrDash(i.Arch), agent.Size(i.TotalBytes)})
		}
		fmt.Fprintf(out, "\n%d images in the WIM", len(ct.Images))
		if ct.Index == 0 {
			fmt.Fprintf(out, "; which one is meant is left open: castpoint content set %s --index NUMBER", ct.ID)
		}
		fmt.Fprintln(out)
		if err := terminal.Table(out, rows); err != nil {
			return err
		}
	}
	for _, u := range ct.Unusual {
		if _, err := fmt.Fprintln(out, "note:", u); err != nil {
			return err
		}
	}
	return nil
}

// streamContent sends a request that makes a content, showing its progress.
func streamContent(o *cli.Options, cmd *cobra.Command, path, what string, req any) (*content.Content, error) {
	client, done, err := o.Admin(cmd.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, stop := command.Interrupted(cmd.Context())
	defer stop()
	progress, clear := terminal.Meter(cmd.ErrOrStderr(), what)
	defer clear()
	ct := &content.Content{}
	return ct, client.Stream(ctx, http.MethodPost, path, req, progress, ct)
}
