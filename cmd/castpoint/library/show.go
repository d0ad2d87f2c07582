package library

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent"
	"castpoint/boot/winpe"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/images"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
)

func newShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show ID", Short: "Show one content", Args: cobra.ExactArgs(1),
		Example: "  castpoint content show win11",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			var c content.Content
			err = client.Call(cmd.Context(), http.MethodGet, "/contents/"+url.PathEscape(args[0]), nil, &c)
			done() // without a server it holds the library, which the report opens too
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				r, err := images.BootReport(cmd.Context(), o, &c)
				if err != nil {
					r = nil // what is stored is shown all the same
				}
				return terminal.JSON(out, struct {
					content.Content
					Boot *winpe.Report `json:"boot,omitempty"`
				}{c, r})
			}
			rows := [][]string{
				{"id", c.ID}, {"kind", string(c.Kind)}, {"name", c.Name}, {"version", terminal.OrDash(c.Version)},
				{"comment", terminal.OrDash(c.Comment)}, {"source", terminal.OrDash(c.Source)}, {"language", terminal.OrDash(c.Language)}, {"arch", terminal.OrDash(c.Arch)},
				{"multicast", travels(c.Distribution)}, {"encrypted", terminal.YesNo(c.Distribution.Encrypt)}, {"priority", priorityOf(c.Distribution)},
				{"added", c.Created.Local().Format(time.DateTime)},
				{"changed", fmt.Sprintf("%s (revision %d)", c.Updated.Local().Format(time.DateTime), c.Revision)},
				{"validated", checkedText(c.Checked, time.DateTime)},
			}
			if c.SourceInitrd != "" {
				rows = append(rows, []string{"source initrd", c.SourceInitrd})
			}
			for _, p := range c.Programs {
				rows = append(rows, []string{"program " + p.Name, programText(p)})
			}
			if c.Index > 0 {
				rows = append(rows, []string{"index", strconv.Itoa(c.Index)})
			}
			for _, i := range c.Images {
				rows = append(rows, []string{"image " + strconv.Itoa(i.Index), fmt.Sprintf("%s %s %s", terminal.OrDash(i.Name), i.Edition, i.Version)})
			}
			for _, u := range c.Unusual {
				rows = append(rows, []string{"unusual", u})
			}
			if c.WinPE.Start != "" {
				rows = append(rows, []string{"agent started by", string(c.WinPE.Start)})
			}
			if c.WinPE.Prompt {
				rows = append(rows, []string{"command prompt", "allowed (F8)"})
			}
			for _, f := range c.Files {
				if f.Role == content.RoleAttached {
					continue
				}
				rows = append(rows, []string{string(f.Role), fmt.Sprintf("%s  %s  sha256 %s", f.Name, agent.Size(f.Size), f.Digest)})
			}
			if err := terminal.Table(out, append(rows, attachedRows(&c)...)); err != nil {
				return err
			}
			return images.PrintBootReport(cmd.Context(), o, out, &c)
		},
	})
}

// checkedText is the result of the last validation.
func checkedText(c *content.Checked, layout string) string {
	switch {
	case c == nil:
		return "-"
	case c.Problem != "":
		return "DAMAGED, " + c.Time.Local().Format(layout) + ": " + c.Problem
	}
	return "good, " + c.Time.Local().Format(layout)
}
