package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/point/host"
	"castpoint/web/call"
)

// DefaultData is the data folder when no other is named.
var DefaultData = config.Default().Data

// findTime is how long a command waits for a server that has the data folder
// but is not ready yet, or is just going.
const findTime = 3 * time.Second

// Admin is the way to do something: through the server that has the data folder,
// or with the data folder itself. done gives up what was opened.
func (o *Options) Admin(ctx context.Context) (_ *call.Client, done func(), err error) {
	return o.AdminRoutes(ctx, nil)
}

// AdminRoutes is admin with routes that are there when no server runs. The unix
// socket goes before TCP: it is reached from every network namespace.
func (o *Options) AdminRoutes(ctx context.Context, local point.LocalRoutes) (_ *call.Client, done func(), err error) {
	if o.Here != nil {
		return o.Here, func() {}, nil
	}
	if o.Remote.URL != "" {
		client, err := o.Remote.client()
		return client, func() {}, err
	}
	if st, err := os.Stat(o.Data); err == nil && !st.IsDir() {
		return nil, nil, command.Usage("data folder %s: it is a file; name a folder with --data", o.Data)
	}
	deadline := time.Now().Add(findTime)
	for {
		if conn, err := call.DialSocket(ctx, o.Data); err == nil {
			_ = conn.Close() // only to see that somebody listens
			return call.NewSocket(o.Data), func() {}, nil
		}
		f, ok, err := call.ReadFile(o.Data)
		if err != nil {
			return nil, nil, err
		}
		if ok && answers(ctx, f.Address) {
			return call.New(f), func() {}, nil
		}
		settings := config.Default()
		if file, err := config.Load(""); err == nil { // what is wrong with it serve says
			settings.DiskReserve = file.DiskReserve
		}
		if err := host.BecomeOwner(o.Data, host.AsRoot()...); err != nil {
			return nil, nil, err
		}
		server, done, err := point.Local(ctx, o.Data, o.Build, &settings, local)
		if err == nil {
			return server.Client(), done, nil
		}
		switch {
		case !errors.Is(err, content.ErrLocked):
			return nil, nil, err
		case time.Now().After(deadline) && ok:
			return nil, nil, fmt.Errorf("the server of this data folder does not answer at %s (is it in another network namespace?): %w", f.Address, err)
		case time.Now().After(deadline):
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers says whether somebody listens there: a server that was killed leaves
// its file behind.
func answers(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
