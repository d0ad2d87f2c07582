package point

import (
	"net/http"

	"castpoint/docs"
	"castpoint/web/access"
	"castpoint/web/console"
)

// makeConsole makes the web console, which asks the admin API in the name of whoever
// is logged in.
func (p *point) makeConsole() (err error) {
	p.console, err = console.New(console.Config{
		API: p.server.ConsoleClient(), Person: person, Sessions: p.server.Sessions,
		Docs: docs.Pages, Version: p.build.Version, OIDC: p.cfg.OIDCIssuer != "", Log: p.log.Named("console"),
	})
	if err == nil {
		p.server.SetConsole(p.console)
	}
	return err
}

// person is who sent a request that has passed the guard of the admin listener.
func person(r *http.Request) (console.Person, bool) {
	id, ok := access.From(r.Context())
	return console.Person{Name: id.Name, Operate: id.Scope.Allows(access.Operate), Admin: id.Scope.Allows(access.Admin), Password: id.How == access.HowPassword, CSRF: id.CSRF}, ok
}
