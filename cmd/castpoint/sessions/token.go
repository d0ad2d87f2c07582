package sessions

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/admin/sessions"
)

// NewToken are the commands about tokens of receivers.
func NewToken(o *cli.Options) *cobra.Command {
	return command.Group("token", "Admit receivers", newTokenCreate(o))
}

func newTokenCreate(o *cli.Options) *cobra.Command {
	var req sessions.CreateToken
	var ttl time.Duration
	c := o.AddJSON(&cobra.Command{
		Use: "create --content ID", Short: "Make a one-time token for a receiver",
		Long: `Create makes a token that admits one receiver to one content, once. The server keeps
its hash only: it is shown here and never again.

With --files the token is for another castpoint server: until it expires, castpoint content
repair --from reads the files of the content with it.`,
		Example: `  castpoint token create --content win11
  castpoint token create --content win11 --mac 52:54:00:12:34:56 --ttl 2h --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Content == "" {
				return command.Usage("say which content it is for: --content ID (castpoint content list)")
			}
			if ttl < time.Second {
				return command.Usage("ttl %s: want at least 1s", ttl)
			}
			req.TTL = int(ttl / time.Second)
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var t sessions.CreatedToken
			if err := client.Call(cmd.Context(), http.MethodPost, "/tokens", req, &t); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, t)
			}
			server := t.Server
			if server == "" {
				server = "https://SERVER:8443"
			}
			if req.Files {
				_, err := fmt.Fprintf(out, "token for the files of %s, good until %s:\n\n  %s\n\nOn the other server:\n\n  castpoint content repair ID --from %s --pin %s --token %s\n",
					t.Content, t.Expires.Local().Format(time.DateTime), t.Token, server, t.Pin, t.Token)
				return err
			}
			fmt.Fprintf(out, "token for %s, good until %s, for one use:\n\n  %s\n\nReceive with:\n\n  castpoint receive %s --server %s --pin %s --token %s --out FILE\n",
				t.Content, t.Expires.Local().Format(time.DateTime), t.Token, t.Content, server, t.Pin, t.Token)
			return nil
		},
	})
	f := c.Flags()
	f.StringVar(&req.Content, "content", "", "`ID` or name of the content")
	f.StringVar(&req.MAC, "mac", "", "`MAC` of the only machine that may use it")
	f.StringVar(&req.Name, "name", "", "`NAME` of the receiver in tables")
	f.BoolVar(&req.Files, "files", false, "for another server's castpoint content repair --from")
	f.DurationVar(&ttl, "ttl", 24*time.Hour, "how long it is good for")
	return c
}
