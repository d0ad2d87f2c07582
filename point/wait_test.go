package point

import (
	"errors"
	"testing"

	"go.uber.org/zap"

	"castpoint/content"
	"castpoint/web/call"
)

// A server that starts waits for a command that holds its data folder, and not for
// another server.
func TestServerWaitsForCommands(t *testing.T) {
	data := t.TempDir()
	tries := 0
	open := func() error {
		if tries++; tries < 3 {
			return content.ErrLocked
		}
		return nil
	}
	if err := whenFree(t.Context(), data, zap.NewNop(), open); err != nil || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	listener, err := call.ListenSocket(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tries = 0
	if err := whenFree(t.Context(), data, zap.NewNop(), open); !errors.Is(err, content.ErrLocked) || tries != 1 {
		t.Errorf("beside a server, after %d tries: %v", tries, err)
	}
}
