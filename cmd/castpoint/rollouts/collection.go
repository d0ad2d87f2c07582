package rollouts

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/machines"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy/collection"
	"castpoint/web/admin/deployments"
)

// ruleHelp says how rules of collections are written.
const ruleHelp = `A rule is a list of NAME=TEXT with commas between, all of which have to fit; a device is in
the collection when one rule does. Names are name, group, mac, manufacturer, model,
architecture (amd64, arm64), firmware (uefi, bios), var.NAME, and when, an expression as in
conditions of steps, which goes last. Texts have * and ?. The rule "unknown" takes machines
that are not on record, with architecture and firmware only.`

// NewCollection are the commands about collections.
func NewCollection(o *cli.Options) *cobra.Command {
	return command.Group("collection", "Work with sets of devices that things are deployed to",
		newCollectionList(o), newCollectionShow(o), newCollectionAdd(o), newCollectionSet(o), newCollectionSecret(o), newCollectionRemove(o))
}

func newCollectionList(o *cli.Options) *cobra.Command {
	return cli.List[collection.Collection]{
		Short: "List collections", Example: "  castpoint collection list",
		Path: "/collections", Empty: "no collections: castpoint collection add makes one",
		Heads: []string{"ID", "NAME", "DEVICES LISTED", "RULES", "VARIABLES", "SECRETS"},
		Row: func(c collection.Collection) []string {
			return []string{c.ID, c.Name, fmt.Sprint(len(c.Devices)), fmt.Sprint(len(c.Rules)), fmt.Sprint(len(c.Variables)), fmt.Sprint(len(c.Secrets))}
		},
	}.Command(o)
}

func newCollectionShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show ID", Short: "Show a collection and the devices that are in it now", Args: cobra.ExactArgs(1),
		Example: "  castpoint collection show lab\n  castpoint collection show lab --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var got struct {
				collection.Collection
				Members deployments.Members `json:"members"`
			}
			path := "/collections/" + url.PathEscape(args[0])
			if err := client.Call(cmd.Context(), http.MethodGet, path, nil, &got.Collection); err != nil {
				return err
			}
			for next := path + "/members"; next != ""; {
				var part deployments.Members
				if err := client.Call(cmd.Context(), http.MethodGet, next, nil, &part); err != nil {
					return err
				}
				if next = ""; part.Next != "" {
					next = path + "/members?after=" + url.QueryEscape(part.Next)
				}
				part.Items, part.Next = append(got.Members.Items, part.Items...), ""
				got.Members = part
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, got)
			}
			if err := printCollection(out, &got.Collection); err != nil {
				return err
			}
			rows := [][]string{{}, {"DEVICE", "ID", "MAC", "STATE", "PROTECTED"}}
			for _, d := range got.Members.Items {
				protected := ""
				if d.Protected {
					protected = "yes: left alone"
				}
				rows = append(rows, []string{d.Label(), d.ID, terminal.OrDash(strings.Join(d.MACs, " ")), string(d.State), protected})
			}
			if err := terminal.Table(out, rows); err != nil {
				return err
			}
			if got.Members.Untold > 0 {
				_, err = fmt.Fprintf(out, "%d more devices may fit a rule: their agents have not reported what they are\n", got.Members.Untold)
			}
			return err
		},
	})
}

func printCollection(out io.Writer, c *collection.Collection) error {
	rows := [][]string{{"id", c.ID}, {"name", c.Name}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("notes", c.Notes)
	for i := range c.Rules {
		add("rule", ruleText(&c.Rules[i]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Variables)) {
		add("variable", name+"="+c.Variables[name])
	}
	for _, name := range c.Secrets {
		add("secret", name)
	}
	return terminal.Table(out, rows)
}

// ruleFields are what a rule has, in the order in which they are written.
func ruleFields(r *collection.MemberRule) []struct {
	name string
	text *string
} {
	return []struct {
		name string
		text *string
	}{
		{"name", &r.Name}, {"group", &r.Group}, {"mac", &r.MAC}, {"manufacturer", &r.Manufacturer}, {"model", &r.Model},
		{"architecture", &r.Architecture}, {"firmware", &r.Firmware},
	}
}

func ruleText(r *collection.MemberRule) string {
	var words []string
	if r.Unknown {
		words = append(words, "unknown")
	}
	for _, f := range ruleFields(r) {
		if *f.text != "" {
			words = append(words, f.name+"="+*f.text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Variables)) {
		words = append(words, "var."+name+"="+r.Variables[name])
	}
	for _, e := range r.When {
		words = append(words, "when="+e)
	}
	return strings.Join(words, ",")
}

// parseRule reads a rule as people write it.
func parseRule(text string) (collection.MemberRule, error) {
	var r collection.MemberRule
	head, when, hasWhen := strings.Cut(","+text, ",when=") // an expression may have commas
	if hasWhen {
		r.When = []string{when}
	}
	fields := ruleFields(&r)
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	for _, word := range strings.Split(strings.TrimPrefix(head, ","), ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(word), "=")
		i := slices.IndexFunc(fields, func(f struct {
			name string
			text *string
		}) bool {
			return f.name == name
		})
		variable, isVar := strings.CutPrefix(name, "var.")
		switch {
		case word == "" && hasWhen:
		case name == "unknown" && !ok:
			r.Unknown = true
		case i >= 0 && value != "":
			*fields[i].text = value
		case isVar && ok:
			if r.Variables == nil {
				r.Variables = make(map[string]string)
			}
			r.Variables[variable] = value
		default:
			return r, command.Usage("rule %q: %q: want NAME=TEXT with one of %s, var.NAME and when, or unknown", text, word, strings.Join(names, ", "))
		}
	}
	return r, nil
}

func parseRules(texts []string) (list []collection.MemberRule, err error) {
	for _, text := range texts {
		r, err := parseRule(text)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// assignments splits NAME=VALUE.
func assignments(list []string) (map[string]string, error) {
	all := make(map[string]string)
	for _, v := range list {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, command.Usage("variable %q: want NAME=VALUE", v)
		}
		all[name] = value
	}
	return all, nil
}

func newCollectionAdd(o *cli.Options) *cobra.Command {
	var req deployments.AddCollection
	var rules, variables []string
	c := o.AddJSON(&cobra.Command{
		Use: "add NAME", Short: "Make a collection", Args: cobra.ExactArgs(1), Long: "Add makes a collection of devices: by a list, by rules, or both.\n\n" + ruleHelp,
		Example: "  castpoint collection add lab --device pc-1 --device pc-2\n" +
			"  castpoint collection add optiplex --rule 'manufacturer=Dell*,model=OptiPlex 7*' --variable Role=office\n" +
			"  castpoint collection add new --rule unknown,architecture=amd64",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			req.Name = args[0]
			if req.Rules, err = parseRules(rules); err != nil {
				return err
			}
			if req.Variables, err = assignments(variables); err != nil {
				return err
			}
			var got collection.Collection
			if err := o.Call(cmd.Context(), http.MethodPost, "/collections", req, &got); err != nil {
				return err
			}
			return showCollection(o, cmd.OutOrStdout(), &got)
		},
	})
	f := c.Flags()
	f.StringSliceVar(&req.Devices, "device", nil, "`ID` of a device that is in it; may be repeated")
	f.StringSliceVar(&req.Except, "except", nil, "`ID` of a device that no rule brings in; may be repeated")
	f.StringArrayVar(&rules, "rule", nil, "`RULE` that brings devices in; may be repeated")
	f.StringArrayVar(&variables, "variable", nil, "`NAME=VALUE` for what is deployed to it; may be repeated")
	f.StringVar(&req.Notes, "notes", "", "`TEXT` for people")
	return c
}

func showCollection(o *cli.Options, out io.Writer, c *collection.Collection) error {
	if o.JSON {
		return terminal.JSON(out, c)
	}
	return printCollection(out, c)
}

func newCollectionSet(o *cli.Options) *cobra.Command {
	var req deployments.SetCollection
	var name, notes string
	var devices, except, rules, addRules, variables []string
	c := o.AddJSON(&cobra.Command{
		Use: "set ID", Short: "Change a collection", Args: cobra.ExactArgs(1),
		Long: `Set changes what the flags name and leaves the rest. Lists are replaced whole, but for
--add-device, --remove-device and --add-rule; --variable NAME= takes a variable away.

` + ruleHelp,
		Example: "  castpoint collection set lab --add-device pc-3\n  castpoint collection set lab --variable Role=kiosk --rule ''",
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed
			notEmpty := func(list []string) []string {
				return slices.DeleteFunc(append([]string{}, list...), func(s string) bool { return s == "" })
			}
			if given("name") {
				req.Name = &name
			}
			if given("notes") {
				req.Notes = &notes
			}
			if given("device") {
				devices = notEmpty(devices)
				req.Devices = &devices
			}
			if given("except") {
				except = notEmpty(except)
				req.Except = &except
			}
			if given("rule") {
				list, err := parseRules(notEmpty(rules))
				if err != nil {
					return err
				}
				list = append([]collection.MemberRule{}, list...)
				req.Rules = &list
			}
			var err error
			if req.AddRules, err = parseRules(addRules); err != nil {
				return err
			}
			values, err := assignments(variables)
			if err != nil {
				return err
			}
			for name, value := range values {
				if req.Variables == nil {
					req.Variables = make(map[string]*string)
				}
				if req.Variables[name] = nil; value != "" {
					req.Variables[name] = &value
				}
			}
			if cmd.Flags().NFlag() == 0 {
				return command.Usage("say what to change: castpoint collection set --help lists it")
			}
			var got collection.Collection
			if err := o.Call(cmd.Context(), http.MethodPatch, "/collections/"+url.PathEscape(args[0]), req, &got); err != nil {
				return err
			}
			return showCollection(o, cmd.OutOrStdout(), &got)
		},
	})
	f := c.Flags()
	f.StringVar(&name, "name", "", "another `NAME`")
	f.StringVar(&notes, "notes", "", "`TEXT` for people")
	f.StringSliceVar(&devices, "device", nil, "`ID` of a device that is in it; may be repeated")
	f.StringSliceVar(&req.AddDevices, "add-device", nil, "`ID` of a device beside those; may be repeated")
	f.StringSliceVar(&req.RemoveDevices, "remove-device", nil, "`ID` of a device that is on its list no more; may be repeated")
	f.StringSliceVar(&except, "except", nil, "`ID` of a device that no rule brings in; may be repeated")
	f.StringArrayVar(&rules, "rule", nil, "`RULE` that brings devices in; may be repeated")
	f.StringArrayVar(&addRules, "add-rule", nil, "`RULE` beside those; may be repeated")
	f.StringArrayVar(&variables, "variable", nil, "`NAME=VALUE` for what is deployed to it; may be repeated")
	return c
}

// newCollectionSecret sets secret variables.
func newCollectionSecret(o *cli.Options) *cobra.Command {
	return machines.NewSecret(o, "/collections/", "collection", "  castpoint collection secret lab AdminPassword\n  castpoint collection secret lab JoinPassword < password.txt")
}

func newCollectionRemove(o *cli.Options) *cobra.Command {
	return newRemove(o, "collection", "/collections/", "Delete a collection with its variables; devices stay on record")
}

// newRemove makes the command that deletes one thing.
func newRemove(o *cli.Options, what, path, short string) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "remove ID", Short: short, Args: cobra.ExactArgs(1), Example: "  castpoint " + what + " remove old",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Call(cmd.Context(), http.MethodDelete, path+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), map[string]any{"removed": args[0]})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s is removed\n", what, args[0])
			return err
		},
	})
}
