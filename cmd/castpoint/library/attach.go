package library

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/web/admin/contents"
)

func newAttach(o *cli.Options) *cobra.Command {
	var drivers, files []string
	c := o.AddJSON(&cobra.Command{
		Use: "attach ID", Short: "Attach drivers and files to a Windows boot image",
		Long: `Attach gives a Windows boot image more files, without changing the image itself:
machines find them in it from their next boot on. What has the path of an attached
file takes its place.

Drivers come from a folder (named with a slash) or a driver package of the library,
lie below castpoint\drivers\NAME, and are loaded before the network is started. Those
of a package are what it holds now: attach it again when it has changed.`,
		Example: `  castpoint content attach winpe --drivers ./intel-lan
  castpoint content attach winpe --drivers realtek --file tools/diag.exe=Windows/System32/diag.exe`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := contents.Attachments{Files: map[string]string{}}
			for _, d := range drivers {
				if strings.ContainsAny(d, `/\`) || d == "." || d == ".." {
					abs, err := filepath.Abs(d)
					if err != nil {
						return err
					}
					d = abs
				}
				req.Drivers = append(req.Drivers, d)
			}
			for _, f := range files {
				from, as, ok := strings.Cut(f, "=")
				if !ok || from == "" || as == "" {
					return command.Usage("--file %q: want FILE=PATH, the path being that in the image, as in diag.exe=Windows/System32/diag.exe", f)
				}
				abs, err := filepath.Abs(from)
				if err != nil {
					return err
				}
				if other, ok := req.Files[as]; ok {
					return command.Usage("--file: %s and %s would both be %s", other, abs, as)
				}
				req.Files[as] = abs
			}
			if len(req.Drivers)+len(req.Files) == 0 {
				return command.Usage("say what to attach: --drivers or --file")
			}
			return changeAttached(o, cmd, args[0], req)
		},
	})
	f := c.Flags()
	f.StringArrayVar(&drivers, "drivers", nil, "`FOLDER` with drivers, or driver package of the library (may be repeated)")
	f.StringArrayVar(&files, "file", nil, "`FILE=PATH`: a file, and its path in the image (may be repeated)")
	return c
}

func newDetach(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "detach ID NAME...", Short: "Take attached drivers and files away",
		Long: `Detach takes away what was attached: NAME is the path in the image of a file or a
folder, or the name of a folder of drivers, as castpoint content show prints them.`,
		Example: `  castpoint content detach winpe intel-lan
  castpoint content detach winpe Windows/System32/diag.exe`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeAttached(o, cmd, args[0], contents.Attachments{Remove: args[1:]})
		},
	})
}

// changeAttached sends the request and says what is attached then.
func changeAttached(o *cli.Options, cmd *cobra.Command, id string, req contents.Attachments) error {
	ct, err := streamContent(o, cmd, "/contents/"+url.PathEscape(id)+"/attach", "attach to "+id, req)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.JSON {
		return terminal.JSON(out, ct)
	}
	if _, err := fmt.Fprintf(out, "changed %s to revision %d\n", ct.ID, ct.Revision); err != nil {
		return err
	}
	return terminal.Table(out, attachedRows(ct))
}

// attachedRows lists what is attached; of drivers the folder alone, because they
// may be thousands of files.
func attachedRows(ct *content.Content) [][]string {
	type sum struct {
		files int
		bytes int64
	}
	folders := map[string]*sum{}
	var rows [][]string
	for _, f := range ct.Attached() {
		below, isDriver := strings.CutPrefix(f.Name, library.DriversFolder+"/")
		name, _, inFolder := strings.Cut(below, "/")
		if !isDriver || !inFolder {
			rows = append(rows, []string{"attached", f.Name + "  " + agent.Size(f.Size)})
			continue
		}
		if folders[name] == nil {
			folders[name] = &sum{}
			rows = append(rows, []string{"drivers", name})
		}
		folders[name].files++
		folders[name].bytes += f.Size
	}
	for _, r := range rows {
		if s := folders[r[1]]; r[0] == "drivers" && s != nil {
			r[1] = fmt.Sprintf("%s  %d files, %s", r[1], s.files, agent.Size(s.bytes))
		}
	}
	return rows
}
