package call

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"castpoint/content"
	"castpoint/web/api"
)

// Export writes a content to w, as content.Library.Export does. progress, which
// may be nil, is told the bytes written.
func (c *Client) Export(ctx context.Context, id string, w io.Writer, progress func(done int64)) error {
	res, err := c.request(ctx, http.MethodGet, "/contents/"+url.PathEscape(id)+"/export", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return api.ReadFrames(res.Body, w, progress)
}

// Import sends an export to the library. For a file that the server can open
// itself Stream to /contents/import with ImportContent is shorter.
func (c *Client) Import(ctx context.Context, r io.Reader) (*content.Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+api.Prefix+"/contents/receive", r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", api.BytesType)
	req.Header.Set("Expect", "100-continue") // a refusal comes before anything is sent
	res, err := c.send(req, "/contents/receive")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	ct := &content.Content{}
	if err := json.NewDecoder(res.Body).Decode(ct); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	return ct, nil
}

// Upload adds a content out of a file that body gives; query has the fields of
// UploadContent. A body with a method Size says how long it is.
func (c *Client) Upload(ctx context.Context, query url.Values, body io.Reader, answer any) error {
	const path = "/contents/upload"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+api.Prefix+path+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", api.BytesType)
	if sized, ok := body.(interface{ Size() int64 }); ok {
		req.ContentLength = sized.Size()
	}
	req.Header.Set("Expect", "100-continue") // a refusal comes before anything is sent
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
