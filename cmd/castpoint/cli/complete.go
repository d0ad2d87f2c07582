package cli

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/content"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/revision"
	"castpoint/web/access"
	"castpoint/web/admin/deployments"
	"castpoint/web/call"
	"castpoint/web/session"
)

// CompleteTime is how long a shell waits for names.
const CompleteTime = 2 * time.Second

// maxNames is how many a shell is offered at most.
const maxNames = 500

// names finds what an argument may be, with a tab and what it is behind each.
type names func(ctx context.Context, c *call.Client, begin string) ([]string, error)

// AddCompletion makes shells complete the first argument of commands that name
// something that is on record. Files and flags they know by themselves.
func AddCompletion(root *cobra.Command, o *Options) {
	for _, group := range []struct {
		group, commands string
		find            names
	}{
		{"content", "show set update attach detach validate repair remove export", contentNames},
		{"device", "show set approve deny remove timeline", DeviceNames},
		{"session", "show cancel kick", sessionNames},
		{"session", "start", contentNames},
		{"device", "wake secret recovery", DeviceNames},
		{"access token", "revoke", tokenNames},
		{"access user", "set remove", userNames},
		{"run", "list show retry cancel answer log", DeviceNames},
		{"collection", "show set remove secret", collectionNames},
		{"sequence", "show remove", sequenceNames},
		{"deployment", "show set remove again report", deploymentNames},
	} {
		for _, name := range strings.Fields(group.commands) {
			c, _, err := root.Find(append(strings.Fields(group.group), name))
			if err == nil && c.Name() == name && c.ValidArgsFunction == nil {
				c.ValidArgsFunction = o.CompleteFirst(group.find)
			}
		}
	}
}

// CompleteFirst asks the server, or the data folder, for names. Without an answer
// there are none.
func (o *Options) CompleteFirst(find names) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), CompleteTime)
		defer cancel()
		client, done, err := o.Admin(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer done()
		list, err := find(ctx, client, begin)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list = slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(strings.ToLower(s), strings.ToLower(begin)) })
		return list[:min(len(list), maxNames)], cobra.ShellCompDirectiveNoFileComp
	}
}

func contentNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[content.Content](ctx, c, "/contents")
	for _, ct := range all {
		list = append(list, ct.ID+"\t"+strings.TrimSpace(string(ct.Kind)+" "+ct.Name+" "+ct.Version))
	}
	return list, err
}

// DeviceNames are the names of devices, and what each is.
func DeviceNames(ctx context.Context, c *call.Client, begin string) (list []string, err error) {
	var p deploy.Page
	query := url.Values{"search": {begin}, "limit": {strconv.Itoa(maxNames)}}
	err = c.Call(ctx, http.MethodGet, "/devices?"+query.Encode(), nil, &p)
	for _, d := range p.Devices {
		about := string(d.State)
		if len(d.MACs) > 0 {
			about += " " + d.MACs[0]
		}
		name := d.Name
		if name == "" || !strings.HasPrefix(strings.ToLower(name), strings.ToLower(begin)) {
			name = d.ID
		}
		list = append(list, name+"\t"+about)
	}
	return list, err
}

func collectionNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[collection.Collection](ctx, c, "/collections")
	for _, one := range all {
		list = append(list, one.Name+"\t"+one.Notes)
	}
	return list, err
}

func sequenceNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[revision.SequenceInfo](ctx, c, "/sequences")
	for _, one := range all {
		list = append(list, one.Name+"\t"+one.Description)
	}
	return list, err
}

func deploymentNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[deployments.DeploymentItem](ctx, c, "/deployments")
	for _, one := range all {
		list = append(list, one.Name+"\t"+one.Sequence+" for "+one.CollectionName)
	}
	return list, err
}

func tokenNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[access.Token](ctx, c, "/access/tokens")
	for _, one := range all {
		list = append(list, one.Name+"\t"+string(one.Scope)+" "+one.ID)
	}
	return list, err
}

func userNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[access.User](ctx, c, "/access/users")
	for _, one := range all {
		list = append(list, one.Name+"\t"+string(one.Scope))
	}
	return list, err
}

func sessionNames(ctx context.Context, c *call.Client, _ string) (list []string, err error) {
	all, err := call.List[session.Info](ctx, c, "/sessions")
	for _, s := range all {
		if s.Ended == nil {
			list = append(list, s.ID+"\t"+s.Content+" "+s.State)
		}
	}
	return list, err
}
