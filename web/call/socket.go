package call

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

// fileSocket is the admin API's unix socket in the data folder.
const fileSocket = "admin.sock"

// ListenSocket makes the unix socket in the data folder, mode 0600. The caller
// holds the library's lock, so a socket that is there is that of a server that
// is gone. Closing the listener takes the file away.
func ListenSocket(ctx context.Context, data string) (_ net.Listener, err error) {
	path := filepath.Join(data, fileSocket)
	fail := func(err error) (net.Listener, error) { return nil, fmt.Errorf("admin socket %s: %w", path, err) }
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	// In a folder of its own first: nobody may open it before its mode is right.
	dir, err := os.MkdirTemp(data, ".socket-*") // mode 0700
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var l net.Listener
	err = shortPath(dir, func(dir string) error {
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", filepath.Join(dir, fileSocket))
		return err
	})
	if err != nil {
		return fail(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	made := filepath.Join(dir, fileSocket)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = l.Close()
		return fail(err)
	}
	return &socketListener{l, path}, nil
}

// socketListener takes its file away when it is closed.
type socketListener struct {
	net.Listener
	path string
}

func (l *socketListener) Close() error {
	err := l.Listener.Close()
	if err == nil {
		_ = os.Remove(l.path)
	}
	return err
}

// DialSocket connects to the server that has the data folder.
func DialSocket(ctx context.Context, data string) (conn net.Conn, err error) {
	err = shortPath(data, func(dir string) error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, fileSocket))
		return err
	})
	return conn, err
}

// NewSocket makes a client of the server that has the data folder, by its
// unix socket.
func NewSocket(data string) *Client {
	return &Client{base: "http://localhost", http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives:     true, // a command ends, and its connection with it
		ExpectContinueTimeout: expectTime,
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return DialSocket(ctx, data) },
	}}}
}

// maxSocketPath is what fits a socket's address with some room: sun_path has 108
// bytes (unix(7)).
const maxSocketPath = 90

// shortPath gives f a path of the folder that is short enough for a socket.
func shortPath(dir string, f func(dir string) error) error {
	if len(dir) <= maxSocketPath {
		return f(dir)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f("/proc/self/fd/" + strconv.Itoa(int(d.Fd())))
}
