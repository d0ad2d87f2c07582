package library

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/web/admin/contents"
)

func newSet(o *cli.Options) *cobra.Command {
	var name, vers, comment, source, language, arch string
	var index int
	var start string
	var prompt bool
	var d content.Distribution
	var programs programFlags
	var remove []string
	c := o.AddJSON(&cobra.Command{
		Use: "set ID", Short: "Change settings of a content",
		Example: `  castpoint content set win11 --multicast
  castpoint content set winpe --start startnet.cmd --prompt
  castpoint content set win11 --name "Windows 11 lab" --multicast-only=false
  castpoint content set 7zip --program 'install=7z2409-x64.exe /S' --program-reboot install=3010`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var req contents.SetContent
			f := cmd.Flags()
			changed := false
			for _, s := range []struct {
				flag string
				set  func()
			}{
				{"name", func() { req.Name = &name }},
				{"version", func() { req.Version = &vers }},
				{"comment", func() { req.Comment = &comment }},
				{"source", func() { req.Source = &source }},
				{"language", func() { req.Language = &language }},
				{"arch", func() { req.Arch = &arch }},
				{"priority", func() { req.Priority = &d.Priority }},
				{"remove-program", func() { req.RemovePrograms = remove }},
				{"index", func() { req.Index = &index }},
				{"multicast", func() { req.Multicast = &d.Multicast }},
				{"encrypt", func() { req.Encrypt = &d.Encrypt }},
				{"start", func() { s := content.Start(start); req.Start = &s }},
				{"prompt", func() { req.Prompt = &prompt }},
				{"multicast-only", func() { req.MulticastOnly = &d.MulticastOnly }},
			} {
				if f.Changed(s.flag) {
					s.set()
					changed = true
				}
			}
			if !changed && !programs.changed() {
				return command.Usage("say what to change; castpoint content set --help lists the settings")
			}
			if err := knownArch(arch); err != nil {
				return err
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var ct content.Content
			if programs.changed() {
				if err := client.Call(cmd.Context(), http.MethodGet, "/contents/"+url.PathEscape(args[0]), nil, &ct); err != nil {
					return err
				}
				if req.Programs, err = programs.programs(ct.Programs); err != nil {
					return err
				}
				ct = content.Content{}
			}
			if err := client.Call(cmd.Context(), http.MethodPatch, "/contents/"+url.PathEscape(args[0]), req, &ct); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), ct)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "changed %s\n", ct.ID)
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "`NAME` for people")
	f.StringVar(&vers, "version", "", "`VERSION`")
	f.StringVar(&comment, "comment", "", "`TEXT` for people")
	f.StringVar(&source, "source", "", "`PATH` or URL that repairs read from")
	f.StringVar(&language, "language", "", "`TAGS` of its languages, as in de-DE")
	f.StringVar(&arch, "arch", "", "`ARCH`: amd64, arm64, 386, arm")
	f.IntVar(&index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	programs.add(f)
	f.StringArrayVar(&remove, "remove-program", nil, "`NAME` of a program to take away; may be repeated")
	f.StringVar(&start, "start", "", "`FILE` of a Windows boot image that starts the agent: winpeshl.ini, startnet.cmd or none")
	f.BoolVar(&prompt, "prompt", false, "allow a command prompt (F8) on machines that boot it")
	distributionFlags(f, &d)
	return c
}
