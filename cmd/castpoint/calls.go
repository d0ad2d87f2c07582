package main

import (
	"context"

	"castpoint/point"
	"castpoint/web/call"
)

// call is one request of a command that prints its answer itself.
func (o *options) call(ctx context.Context, method, path string, body, answer any) error {
	client, done, err := o.admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return client.Call(ctx, method, path, body, answer)
}

// callWith is call for requests that only a serving point knows; local are their
// stand-ins when no server runs.
func (o *options) callWith(ctx context.Context, local point.LocalRoutes, method, path string, body, answer any) error {
	client, done, err := o.adminRoutes(ctx, local)
	if err != nil {
		return err
	}
	defer done()
	return client.Call(ctx, method, path, body, answer)
}

// listAll is a list of a command that prints it itself.
func listAll[T any](ctx context.Context, o *options, path string) ([]T, error) {
	client, done, err := o.admin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return call.List[T](ctx, client, path)
}
