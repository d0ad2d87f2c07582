package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/web"
)

// distributionFlags are the settings that say how a content may travel.
func distributionFlags(f *pflag.FlagSet, d *content.Distribution) {
	f.BoolVar(&d.Multicast, "multicast", false, "it may be sent in multicast sessions")
	f.BoolVar(&d.Encrypt, "encrypt", true, "it must never be sent in the clear (no session is, so far)")
	f.BoolVar(&d.MulticastOnly, "multicast-only", false, "never send it by unicast, not even what multicast did not bring")
}

func newContentSet(o *options) *cobra.Command {
	var name, vers, comment string
	var index int
	var d content.Distribution
	c := o.addJSON(&cobra.Command{
		Use: "set ID", Short: "Change settings of a content",
		Example: `  castpoint content set win11 --multicast
  castpoint content set win11 --name "Windows 11 lab" --multicast-only=false`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var req web.SetContent
			f := cmd.Flags()
			changed := false
			for _, s := range []struct {
				flag string
				set  func()
			}{
				{"name", func() { req.Name = &name }},
				{"version", func() { req.Version = &vers }},
				{"comment", func() { req.Comment = &comment }},
				{"index", func() { req.Index = &index }},
				{"multicast", func() { req.Multicast = &d.Multicast }},
				{"encrypt", func() { req.Encrypt = &d.Encrypt }},
				{"multicast-only", func() { req.MulticastOnly = &d.MulticastOnly }},
			} {
				if f.Changed(s.flag) {
					s.set()
					changed = true
				}
			}
			if !changed {
				return command.Usage("say what to change; castpoint content set --help lists the settings")
			}
			client, done, err := o.admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var ct content.Content
			if err := client.Call(cmd.Context(), http.MethodPatch, "/contents/"+url.PathEscape(args[0]), req, &ct); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), ct)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "changed %s\n", ct.ID)
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "`NAME` for people")
	f.StringVar(&vers, "version", "", "`VERSION`")
	f.StringVar(&comment, "comment", "", "`TEXT` for people")
	f.IntVar(&index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	distributionFlags(f, &d)
	return c
}
