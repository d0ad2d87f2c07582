package sessions

import (
	"context"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"castpoint/web/access"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
)

func (s *operations) tokenOperations(a *api.API) {
	api.Answer(a, api.Operation{
		ID: "create-token", Method: http.MethodPost, Path: "/tokens", Scope: access.Operate, Tag: "tokens", Status: http.StatusCreated,
		Summary: "Make a one-time token that admits a receiver",
		About:   "A person hands it to a receiver (castpoint receive, castagent). It is good once, for one content; the member that it admits gets a ticket to come back with.",
		Errors:  []int{http.StatusNotFound},
	}, s.createToken)
}

// CreateToken asks for a token.
type CreateToken struct {
	Content string `json:"content"`        // id or name
	MAC     string `json:"mac,omitempty"`  // the only machine that may use it
	Name    string `json:"name,omitempty"` // what the member is called
	TTL     int    `json:"ttl,omitempty"`  // seconds it is good for; 0 means a day
	// Files makes it a token for another server's repairs instead of a receiver.
	Files bool `json:"files,omitempty"`
}

// Limits of a token's life.
const (
	defaultTokenLife = 24 * time.Hour
	maxTokenLife     = 90 * 24 * time.Hour
)

// CreatedToken is a new token and what a receiver needs beside it.
type CreatedToken struct {
	Token   string    `json:"token"`
	Content string    `json:"content"` // id
	Name    string    `json:"name"`    // of the content
	MAC     string    `json:"mac,omitempty"`
	Expires time.Time `json:"expires"`
	Server  string    `json:"server,omitempty"` // join URL; "" when no server is running
	Pin     string    `json:"pin"`
}

func (s *operations) createToken(ctx context.Context, in *struct{ Body CreateToken }) (*CreatedToken, error) {
	req := in.Body
	ct, err := api.Content(s.Library, req.Content)
	if err != nil {
		return nil, err
	}
	if !req.Files {
		if _, err := session.NewParcel(ct); err != nil {
			return nil, err
		}
	} else if req.MAC != "" {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "a token for another server is not bound to a MAC")
	}
	ttl := time.Duration(req.TTL) * time.Second
	switch {
	case ttl == 0:
		ttl = defaultTokenLife
	case ttl < time.Second || ttl > maxTokenLife:
		return nil, api.Refusal(http.StatusBadRequest, "", "", "a token cannot be good for %s: want 1s to %s", ttl, maxTokenLife)
	}
	if req.MAC != "" {
		mac, err := net.ParseMAC(req.MAC)
		if err != nil || len(mac) != 6 {
			return nil, api.Refusal(http.StatusBadRequest, "", "", "MAC %q is not one, as in 52:54:00:12:34:56", req.MAC)
		}
		req.MAC = mac.String()
	}
	secret, token, err := s.Join.Tokens().Create(admit.Token{Content: ct.ID, Files: req.Files, MAC: req.MAC, Name: join.Printable(req.Name, 64)}, ttl)
	if err != nil {
		return nil, err
	}
	s.Log.Info("token made", zap.String("content", ct.ID), zap.String("mac", token.MAC), zap.Time("expires", token.Expires))
	api.Note(ctx, "for %s", ct.ID)
	return &CreatedToken{
		Token: secret, Content: ct.ID, Name: ct.Name, MAC: token.MAC, Expires: token.Expires,
		Server: s.URL, Pin: s.Join.Pin(),
	}, nil
}
