package main

import (
	"context"
	"errors"

	"castpoint/test/lab"
)

func runCastpoint(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	return result{}, errors.New("not yet")
}
