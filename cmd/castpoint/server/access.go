package server

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/web/access"
	"castpoint/web/admin/accounts"
)

// NewAccess are the commands about who may use the admin listener.
func NewAccess(o *cli.Options) *cobra.Command {
	return command.Group("access", "Say who may use the admin API and the console",
		command.Group("token", "Work with the tokens of programs", newAccessTokenCreate(o), newAccessTokenList(o), newAccessTokenRevoke(o)),
		command.Group("user", "Work with the users of the console", newAccessUserAdd(o), newAccessUserList(o), newAccessUserSet(o), newAccessUserRemove(o)))
}

const scopesHelp = `A scope includes those before it: read sees everything but secrets, operate works with
devices, sessions and tokens of receivers, admin changes the library, the settings and
who has access.`

// scopeFlag is checked here, so that a wrong one is a wrong call.
func scopeFlag(c *cobra.Command, to *string, value string) {
	c.Flags().StringVar(to, "scope", value, "`SCOPE`: read, operate or admin")
}

func checkScope(scope string) error {
	if _, err := access.ParseScope(scope); err != nil {
		return command.Usage("scope %q: want one of %v", scope, access.Scopes())
	}
	return nil
}

func newAccessTokenCreate(o *cli.Options) *cobra.Command {
	var scope string
	var ttl time.Duration
	c := o.AddJSON(&cobra.Command{
		Use: "create NAME", Short: "Make a token for a program", Args: cobra.ExactArgs(1),
		Long: `Create makes a token that a program shows to the admin API. The server keeps its hash only:
it is shown here and never again. NAME says in lists and in the audit log who has it.

` + scopesHelp + `

Receivers and machines need no such token: see castpoint token create.`,
		Example: "  castpoint access token create prometheus --scope read\n  castpoint access token create helpdesk --scope operate --ttl 720h --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkScope(scope); err != nil {
				return err
			}
			if ttl < 0 || ttl%time.Second != 0 {
				return command.Usage("ttl %s: want whole seconds", ttl)
			}
			var t accounts.CreatedAccessToken
			req := accounts.CreateAccessToken{Name: args[0], Scope: access.Scope(scope), TTL: int64(ttl / time.Second)}
			if err := o.Call(cmd.Context(), http.MethodPost, "/access/tokens", req, &t); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, t)
			}
			until := "until it is revoked"
			if !t.Expires.IsZero() {
				until = "until " + t.Expires.Local().Format(time.DateTime)
			}
			_, err := fmt.Fprintf(out, "token %s for %s, scope %s, good %s:\n\n  %s\n", t.ID, t.Name, t.Scope, until, t.Secret)
			return err
		},
	})
	scopeFlag(c, &scope, string(access.Read))
	c.Flags().DurationVar(&ttl, "ttl", 0, "how long it is good for (default: until it is revoked)")
	return c
}

func newAccessTokenList(o *cli.Options) *cobra.Command {
	return cli.List[access.Token]{
		Short: "List the tokens of programs", Example: "  castpoint access token list",
		Path: "/access/tokens", Empty: "no program has a token: castpoint access token create makes one",
		Heads: []string{"ID", "NAME", "SCOPE", "BY", "CREATED", "EXPIRES", "LAST USED"},
		Row: func(t access.Token) []string {
			return []string{t.ID, t.Name, string(t.Scope), t.By, terminal.When(t.Created), terminal.When(t.Expires), terminal.When(t.LastUsed)}
		},
	}.Command(o)
}

func newAccessTokenRevoke(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token", Args: cobra.ExactArgs(1),
		Long:    "Revoke ends a token, by id or name, and what is going on with it.",
		Example: "  castpoint access token revoke prometheus",
		RunE: func(cmd *cobra.Command, args []string) error {
			var t access.Token
			if err := o.Call(cmd.Context(), http.MethodDelete, "/access/tokens/"+url.PathEscape(args[0]), nil, &t); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "revoked token %s of %s\n", t.ID, t.Name)
			return err
		},
	}
}

const passwordHelp = `The password is asked for on a terminal, and otherwise is the first line of standard input.`

func newAccessUserAdd(o *cli.Options) *cobra.Command {
	var scope string
	c := o.AddJSON(&cobra.Command{
		Use: "add NAME", Short: "Make a user of the console", Args: cobra.ExactArgs(1),
		Long: "Add makes a user who logs in at the console with a password.\n" + passwordHelp + "\n\n" + scopesHelp,
		Example: `  castpoint access user add ann --scope admin
  pass show castpoint/bob | castpoint access user add bob --scope operate`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkScope(scope); err != nil {
				return err
			}
			password, err := cli.ReadPassword(cmd, args[0])
			if err != nil {
				return err
			}
			var u access.User
			if err := o.Call(cmd.Context(), http.MethodPost, "/access/users", accounts.AddUser{Name: args[0], Password: password, Scope: access.Scope(scope)}, &u); err != nil {
				return err
			}
			return printUser(o, cmd, "made", u)
		},
	})
	scopeFlag(c, &scope, string(access.Operate))
	return c
}

func printUser(o *cli.Options, cmd *cobra.Command, done string, u access.User) error {
	if o.JSON {
		return terminal.JSON(cmd.OutOrStdout(), u)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s user %s, scope %s\n", done, u.Name, u.Scope)
	return err
}

func newAccessUserList(o *cli.Options) *cobra.Command {
	return cli.List[access.User]{
		Short: "List the users of the console", Example: "  castpoint access user list",
		Path: "/access/users", Empty: "nobody can log in with a password: castpoint access user add makes a user",
		Heads: []string{"NAME", "SCOPE", "CREATED", "LAST LOGIN"},
		Row: func(u access.User) []string {
			return []string{u.Name, string(u.Scope), terminal.When(u.Created), terminal.When(u.LastLogin)}
		},
	}.Command(o)
}

func newAccessUserSet(o *cli.Options) *cobra.Command {
	var scope string
	var password bool
	c := o.AddJSON(&cobra.Command{
		Use: "set NAME", Short: "Give a user another password or scope", Args: cobra.ExactArgs(1),
		Long:    "Set changes a user, who has to log in again.\n" + passwordHelp,
		Example: "  castpoint access user set ann --password\n  castpoint access user set bob --scope read",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := accounts.SetUser{Scope: access.Scope(scope)}
			if scope != "" {
				if err := checkScope(scope); err != nil {
					return err
				}
			}
			if password {
				var err error
				if req.Password, err = cli.ReadPassword(cmd, args[0]); err != nil {
					return err
				}
			}
			if req == (accounts.SetUser{}) {
				return command.Usage("say what is to be changed: --password or --scope")
			}
			var u access.User
			if err := o.Call(cmd.Context(), http.MethodPatch, "/access/users/"+url.PathEscape(args[0]), req, &u); err != nil {
				return err
			}
			return printUser(o, cmd, "changed", u)
		},
	})
	scopeFlag(c, &scope, "")
	c.Flags().BoolVar(&password, "password", false, "ask for a new password")
	return c
}

func newAccessUserRemove(o *cli.Options) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a user", Args: cobra.ExactArgs(1),
		Long:    "Remove removes a user and ends what is going on with the user's logins.",
		Example: "  castpoint access user remove bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Call(cmd.Context(), http.MethodDelete, "/access/users/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "removed user %s\n", args[0])
			return err
		},
	}
}
