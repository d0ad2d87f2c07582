// Package sessions is what the operations of the admin API do that are about sessions, and
// about the tokens that admit receivers to them.
package sessions

import (
	"go.uber.org/zap"

	"castpoint/content/library"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
)

// Config is what the operations are about.
type Config struct {
	Library *library.Library
	Join    *join.Service
	Keeper  *session.Keeper // nil without a network
	URL     string          // of the join listener
	Log     *zap.Logger
}

type operations struct{ Config }

// Register adds the operations to the API.
func Register(a *api.API, cfg Config) {
	s := &operations{cfg}
	s.tokenOperations(a)
	s.sessionOperations(a)
}
