package library

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/images"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/internal/config"
	"castpoint/web/admin"
)

func newAdd(o *cli.Options) *cobra.Command {
	var req admin.AddContent
	var rate config.Rate
	var kernel string
	var programs programFlags
	var upload bool
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
			if err := knownArch(req.Arch); err != nil {
				return err
			}
			path := kernel
			switch {
			case len(args) == 2 && kernel != "":
				return command.Usage("say either PATH or --kernel")
			case len(args) == 2:
				path = args[1]
			case kernel == "":
				return command.Usage("say what to add: castpoint content add %s PATH", args[0])
			}
			if req.Kind == content.KindOSImage && (kernel != "" || req.Initrd != "") {
				return command.Usage("--kernel and --initrd are for boot images")
			}
			var err error
			if req.Programs, err = programs.programs(nil); err != nil {
				return err
			}
			if req.Path, err = sourcePath(path); err != nil {
				return err
			}
			if req.Initrd, err = sourcePath(req.Initrd); err != nil {
				return err
			}
			req.FetchRate = int64(rate)
			if !fetch.IsURL(req.Path) && (req.SHA256 != "" || rate != 0) {
				return command.Usage("--sha256 and --fetch-rate are for URLs")
			}
			req.Distribution.Multicast = req.Distribution.Multicast || req.Distribution.MulticastOnly
			if req.Loaders != "" && (req.Kind != content.KindBootImage || kernel != "") {
				return command.Usage("--loaders is for boot images that are WIMs")
			}
			if req.Loaders, err = sourcePath(req.Loaders); err != nil {
				return err
			}
			if req.Kind == content.KindBootImage && kernel == "" && !fetch.IsURL(req.Path) {
				images.FillArch(req.Path, req.Index, &req.Arch)
			}

			ct, err := addFiles(o, cmd, "", req, upload)
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
	f.StringVar(&kernel, "kernel", "", "`FILE` of the kernel of a Linux boot image")
	f.StringVar(&req.Initrd, "initrd", "", "`FILE` of its initramfs")
	f.StringVar(&req.Loaders, "loaders", "", "`PATH` of boot files that a WinPE boot image lacks: a folder (of the ADK, of installation media), an ISO image, another WIM, or one file")
	f.StringVar(&req.Name, "name", "", "`NAME` for people (default: from the image)")
	f.StringVar(&req.Version, "version", "", "`VERSION` (default: from the image)")
	f.StringVar(&req.Comment, "comment", "", "`TEXT` for people")
	f.StringVar(&req.Language, "language", "", "`TAGS` of its languages, as in de-DE (default: from the image)")
	f.StringVar(&req.Source, "source", "", "`PATH` or URL that repairs read from (default: what is added)")
	f.IntVar(&req.Index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	f.StringVar(&req.Arch, "arch", "", "`ARCH`: amd64, arm64, 386, arm (default: from the image)")
	f.BoolVar(&req.HardLink, "hard-link", false, "take the files themselves instead of copies; they become read-only and must not be written again")
	fetchFlags(f, &req, &rate)
	uploadFlag(f, &upload)
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

// fetchFlags say how a URL is fetched.
func fetchFlags(f *pflag.FlagSet, req *admin.AddContent, rate *config.Rate) {
	f.StringVar(&req.SHA256, "sha256", "", "`HASH` that a file behind a URL must have")
	f.Var(rate, "fetch-rate", "`RATE` at which it is fetched at most, as in 200mbit (default: no limit)")
}

// uploadFlag has the files read here.
func uploadFlag(f *pflag.FlagSet, upload *bool) {
	f.BoolVar(upload, "upload", false, "read the files here and send them to the server (default: when it cannot read them)")
}

// sourcePath makes a path of the command line one that the server understands.
func sourcePath(path string) (string, error) {
	if path == "" || fetch.IsURL(path) {
		return path, nil
	}
	if scheme, _, ok := strings.Cut(path, "://"); ok && !strings.Contains(scheme, "/") {
		return "", command.Usage("%s: %s is not fetched, only http and https are", path, scheme)
	}
	return filepath.Abs(path)
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
