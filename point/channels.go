package point

import (
	"cmp"
	"context"
	"net/http"

	"castpoint/internal/notice"
	"castpoint/web/access"
	"castpoint/web/api"
)

// notifyOperations show how people are told, and try it. sender is nil while nothing
// is open.
func notifyOperations(sender func() *notice.Sender) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "list-channels", Method: http.MethodGet, Path: "/notify", Scope: access.Read, Tag: "server",
			Summary: "The ways by which people are told, and how each went last",
			About:   "They are the webhooks and the mail server of the settings.",
		}, func(_ context.Context, in *struct{ api.PageQuery }) (api.Page[notice.Channel], error) {
			return api.Cut(sender().Channels(), func(c *notice.Channel) string { return c.Name }, in.PageQuery), nil
		})
		api.Answer(a, api.Operation{
			ID: "test-channels", Method: http.MethodPost, Path: "/notify/test", Scope: access.Operate, Tag: "server",
			Summary: "Send a message by all of them, once, and say how it went",
			About:   "One that has failed says so in its error; the answer comes after 20 seconds at most.",
		}, func(ctx context.Context, _ *struct{}) (Channels, error) {
			return Channels{append([]notice.Channel{}, sender().Test(ctx, notice.Message{
				Kind: "test", Subject: "test", Text: "This is a test, asked for by " + cmp.Or(access.Name(ctx), "somebody at the server") + ". Nothing has happened.",
			})...)}, nil
		})
	}
}

// Channels are the ways to people.
type Channels struct {
	Items []notice.Channel `json:"items" nullable:"false" doc:"each with how it went"`
}
