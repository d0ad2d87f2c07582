package call

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"castpoint/web/api"
)

// maxSSELine is the longest line of a stream of events, in bytes.
const maxSSELine = 1 << 20

// Send sends a body of any type and reads the answer into answer.
func (c *Client) Send(ctx context.Context, path, contentType string, body io.Reader, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+api.Prefix+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	res, err := c.send(req, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

// Follow reads a stream of server-sent events and gives the data of each to f,
// until ctx ends, f returns an error, or the server ends it, which is no error.
func (c *Client) Follow(ctx context.Context, path string, f func(data []byte) error) error {
	res, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxSSELine)
	for lines.Scan() {
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
			if err := f(data); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
