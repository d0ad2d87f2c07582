// Package accounts is what the operations of the admin API do that are about who may use it:
// the tokens of programs, the users of the console, those who are locked out, and the audit
// log.
package accounts

import (
	"castpoint/web/access"
	"castpoint/web/api"
)

type operations struct {
	access *access.Access // nil when no users and tokens are kept
}

// Register adds the operations to the API.
func Register(a *api.API, who *access.Access) {
	s := &operations{who}
	s.accessOperations(a)
	s.accountOperations(a)
}
