package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"castpoint/content"
	"castpoint/internal/config"
	"castpoint/web"
	"castpoint/web/api"
)

// defaultData is the data folder when no other is named.
var defaultData = config.Default().Data

// dirLibrary is the library's folder in the data folder.
const dirLibrary = "library"

// findTime is how long a command waits for a server that has the data folder
// but is not ready yet, or is just going.
const findTime = 3 * time.Second

// admin is the way to do something: through the server that has the data folder,
// or with the data folder itself. done gives up what was opened.
func (o *options) admin(ctx context.Context) (_ *web.AdminClient, done func(), err error) {
	return o.adminRoutes(ctx, nil)
}

// localRoutes makes routes for the library of a data folder that no server has.
type localRoutes func(*content.Library, *records) ([]func(*api.API), error)

// adminRoutes is admin with routes that are there when no server runs. The unix
// socket goes before TCP: it is reached from every network namespace.
func (o *options) adminRoutes(ctx context.Context, local localRoutes) (_ *web.AdminClient, done func(), err error) {
	if o.remote.url != "" {
		client, err := o.remote.client()
		return client, func() {}, err
	}
	deadline := time.Now().Add(findTime)
	for {
		if conn, err := web.DialSocket(ctx, o.data); err == nil {
			_ = conn.Close() // only to see that somebody listens
			return web.NewSocketClient(o.data), func() {}, nil
		}
		f, ok, err := web.ReadAdminFile(o.data)
		if err != nil {
			return nil, nil, err
		}
		if ok && answers(ctx, f.Address) {
			return web.NewAdminClient(f), func() {}, nil
		}
		settings := config.Default()
		if file, err := config.Load(""); err == nil { // what is wrong with it serve says
			settings.DiskReserve = file.DiskReserve
		}
		if err := becomeOwner(o.data, asRoot...); err != nil {
			return nil, nil, err
		}
		server, library, kept, err := openData(ctx, o.data, web.Config{Version: version}, &settings, local)
		if err == nil {
			return web.NewLocalClient(server), func() {
				server.Close()
				_ = kept.close()
				_ = library.Close() // only gives up the lock
			}, nil
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

// openData opens the library of a data folder, making the folder when it is not
// there, and the state beside it. The records are closed after the server and
// before the library, which has the lock. more may be nil.
func openData(ctx context.Context, data string, cfg web.Config, settings *config.Config, more localRoutes) (_ *web.Server, _ *content.Library, kept *records, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("data folder: %w; name another with --data", err)
	}
	library, err := content.OpenOptions(filepath.Join(data, dirLibrary), content.Options{Reserve: libraryReserve(settings), Log: cfg.Log})
	if err != nil {
		return nil, nil, nil, err
	}
	cfg.Library = library
	defer func() {
		if err != nil {
			if kept != nil {
				err = errors.Join(err, kept.close())
			}
			err = errors.Join(err, library.Close())
		}
	}()
	if kept, err = openRecords(ctx, data, settings, cfg.Log); err != nil {
		return nil, nil, nil, err
	}
	cfg.Devices, cfg.Timeline, cfg.Access, cfg.Rollout, cfg.Monitor = kept.devices, kept.timeline, kept.access, kept.rollout, kept.monitor
	if more != nil {
		cfg.Routes, err = more(library, kept)
	}
	if err == nil {
		cfg.Data, err = filepath.Abs(data)
	}
	if err == nil {
		var server *web.Server
		if server, err = web.New(cfg); err == nil {
			return server, library, kept, nil
		}
	}
	return nil, nil, kept, err
}

// libraryReserve is the reserve as the library takes it, where 0 is the default.
func libraryReserve(c *config.Config) int64 {
	if c.DiskReserve == 0 {
		return -1
	}
	return int64(c.DiskReserve)
}
