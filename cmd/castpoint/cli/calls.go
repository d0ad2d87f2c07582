package cli

import (
	"context"

	"castpoint/point"
	"castpoint/web/call"
)

// Call is one request of a command that prints its answer itself.
func (o *Options) Call(ctx context.Context, method, path string, body, answer any) error {
	client, done, err := o.Admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return client.Call(ctx, method, path, body, answer)
}

// CallWith is Call for requests that only a serving point knows; local are their
// stand-ins when no server runs.
func (o *Options) CallWith(ctx context.Context, local point.LocalRoutes, method, path string, body, answer any) error {
	client, done, err := o.AdminRoutes(ctx, local)
	if err != nil {
		return err
	}
	defer done()
	return client.Call(ctx, method, path, body, answer)
}

// ListAll is a list of a command that prints it itself.
func ListAll[T any](ctx context.Context, o *Options, path string) ([]T, error) {
	client, done, err := o.Admin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return call.List[T](ctx, client, path)
}
