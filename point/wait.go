package point

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"castpoint/content"
	"castpoint/web/call"
)

// A command that begins while no server runs opens the data folder itself, and holds
// it until it has ended. A server that starts meanwhile, after a crash say, waits.
const (
	heldPatience = 30 * time.Second
	heldStep     = 100 * time.Millisecond
)

// whenFree opens a data folder as soon as no command holds it. When another server
// does, it does not wait.
func whenFree(ctx context.Context, data string, log *zap.Logger, open func() error) error {
	told := false
	for began := time.Now(); ; {
		err := open()
		if !errors.Is(err, content.ErrLocked) || time.Since(began) > heldPatience || ctx.Err() != nil {
			return err
		}
		if conn, dialed := call.DialSocket(ctx, data); dialed == nil {
			_ = conn.Close()
			return err
		}
		if !told {
			told = true
			log.Info("waiting for the program that uses the data folder", zap.Error(err))
		}
		select {
		case <-time.After(heldStep):
		case <-ctx.Done():
		}
	}
}
