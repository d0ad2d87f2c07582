package notice

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// HeaderSignature carries "sha256=" and the HMAC-SHA-256 of the body in hexadecimal,
// as GitHub's webhooks do in X-Hub-Signature-256. The time is in the body.
const HeaderSignature = "Castpoint-Signature"

func (s *Sender) post(ctx context.Context, url string, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "castpoint")
	if len(s.cfg.Key) > 0 {
		sum := hmac.New(sha256.New, s.cfg.Key)
		_, _ = sum.Write(body) // never fails: see its documentation
		req.Header.Set(HeaderSignature, "sha256="+hex.EncodeToString(sum.Sum(nil)))
	}
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode >= 300 {
		// The number only: the words behind it are the webhook's.
		return fmt.Errorf("it answers %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}
