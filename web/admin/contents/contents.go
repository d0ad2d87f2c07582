// Package contents is what the operations of the admin API do that are about the contents
// of the library: they come out of files, URLs, uploads and exports, are changed, validated,
// repaired and removed.
package contents

import (
	"sync"

	"castpoint/content/library"
	"castpoint/web/api"
	"castpoint/web/join"
	"castpoint/web/session"
	"castpoint/web/upload"
)

// Config is what the operations are about.
type Config struct {
	Library *library.Library
	Uploads *upload.Uploads
	Join    *join.Service   // what is assigned, and what machines have open
	Keeper  *session.Keeper // nil without a network
	Data    string          // folder
}

type operations struct {
	Config

	mu sync.Mutex
	// fetching are the URLs that are on their way into the library.
	fetching map[string]bool
}

// Register adds the operations to the API.
func Register(a *api.API, cfg Config) {
	s := &operations{Config: cfg, fetching: make(map[string]bool)}
	s.contentOperations(a)
	s.transferOperations(a)
	s.uploadOperations(a)
}
