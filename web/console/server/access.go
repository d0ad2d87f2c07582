package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"castpoint/web/access"
	"castpoint/web/admin/accounts"
	"castpoint/web/console/frame"
)

func (p *Server) accessRoutes() {
	p.Page("GET /access", p.access)
	p.Page("GET /audit", p.audit)
	p.Page("GET /account", p.account)
	p.Action("POST /account/password", p.setOwnPassword)
	p.Action("POST /access/users", p.addUser)
	p.Action("POST /access/users/{name}", p.setUser)
	p.Ask("POST /access/users/{name}/remove", p.askRemoveUser, func(r *http.Request) (string, string, error) {
		name := r.PathValue("name")
		return "/access", "Removed " + name + ".", p.Do(r, http.MethodDelete, userPath(name), nil, nil)
	})
	p.Handle("POST /access/tokens", p.createToken)
	p.Ask("POST /access/tokens/{id}/revoke", p.askRevoke, func(r *http.Request) (string, string, error) {
		var t access.Token
		err := p.Do(r, http.MethodDelete, "/access/tokens/"+url.PathEscape(r.PathValue("id")), nil, &t)
		return "/access", "Revoked " + t.Name + ": what goes on with it has ended.", err
	})
	p.Action("POST /access/lockouts/lift", func(r *http.Request) (string, string, error) {
		who := r.PostFormValue("who")
		return "/access", "Lifted: " + who + " may log in again.", p.Do(r, http.MethodDelete, "/access/lockouts/"+url.PathEscape(who), nil, nil)
	})
}

func userPath(name string) string { return "/access/users/" + url.PathEscape(name) }

// scopes are what people and programs may do.
var scopes = []struct {
	Scope access.Scope
	Text  string
}{
	{access.Read, "read: see everything"}, {access.Operate, "operate: also devices, sessions and deployments"}, {access.Admin, "admin: also the library, and who has access"},
}

// accessData is what the page of users and tokens shows.
type accessData struct {
	Users    frame.Part[access.User]
	Tokens   frame.Part[access.Token]
	Lockouts []access.Lockout
	New      *accounts.CreatedAccessToken // shown this once
	Scopes   any
	Self     string
}

// accessPart is how many users or tokens a page has.
const accessPart = 100

func (p *Server) access(r *http.Request) (*frame.Page, error) {
	d := accessData{Scopes: scopes, Self: p.Me(r).Name}
	users, err := frame.All[access.User](r, p.Frame, "/access/users")
	if err != nil {
		return nil, err
	}
	tokens, err := frame.All[access.Token](r, p.Frame, "/access/tokens")
	if err != nil {
		return nil, err
	}
	d.Lockouts, err = frame.All[access.Lockout](r, p.Frame, "/access/lockouts")
	d.Users, d.Tokens = frame.Cut(r, users, accessPart), frame.Cut(r, tokens, accessPart)
	return &frame.Page{Title: "Users and tokens", Nav: "/access", Body: "access", Data: &d}, err
}

func (p *Server) addUser(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		return "", "", frame.Wrong("the two passwords differ")
	}
	var u access.User
	err = p.Do(r, http.MethodPost, "/access/users", accounts.AddUser{Name: f.Text("name"), Password: password, Scope: access.Scope(f.Text("scope"))}, &u)
	return "/access", "Made the user " + u.Name + ".", err
}

func (p *Server) setUser(r *http.Request) (to, said string, err error) {
	f := frame.Read(r)
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		return "", "", frame.Wrong("the two passwords differ")
	}
	var u access.User
	err = p.Do(r, http.MethodPatch, userPath(r.PathValue("name")), accounts.SetUser{Password: password, Scope: access.Scope(f.Text("scope"))}, &u)
	return "/access", "Changed " + u.Name + ", who has to log in again.", err
}

func (p *Server) askRemoveUser(r *http.Request) (*frame.Question, error) {
	name := r.PathValue("name")
	q := &frame.Question{Title: "Remove the user " + name + "?", Do: "Remove " + name, Back: "/access",
		Says: []string{"The user's sessions end at once. What the audit log says of the user stays."}}
	if strings.EqualFold(name, p.Me(r).Name) {
		q.Says = append(q.Says, "That is you: you are logged out, and need somebody else or a shell on the server to get in again.")
	}
	return q, nil
}

func (p *Server) askRevoke(r *http.Request) (*frame.Question, error) {
	id := r.PathValue("id")
	tokens, err := frame.All[access.Token](r, p.Frame, "/access/tokens")
	for _, t := range tokens {
		if t.ID == id {
			return &frame.Question{Title: "Revoke the token " + t.Name + "?", Do: "Revoke " + t.Name, Back: "/access",
				Says: []string{"Programs that use it are refused from now on, and what goes on with it ends."}}, err
		}
	}
	if err == nil {
		err = frame.NotFound("there is no token %s", id)
	}
	return nil, err
}

// day is the unit in which the form for tokens counts.
const day = 24 * time.Hour

// createToken shows the secret on the page that answers: it is never to be seen
// again, so it is in no cookie and no address.
func (p *Server) createToken(w http.ResponseWriter, r *http.Request) {
	if !p.Parse(w, r) {
		return
	}
	f := frame.Read(r)
	req := accounts.CreateAccessToken{Name: f.Text("name"), Scope: access.Scope(f.Text("scope"))}
	if n := f.Number("days", "days"); n != nil {
		req.TTL = int64(time.Duration(*n) * day / time.Second)
	}
	made := &accounts.CreatedAccessToken{}
	err := f.Err()
	if err == nil {
		err = p.Do(r, http.MethodPost, "/access/tokens", req, made)
	}
	var shown *frame.Page
	if err == nil {
		shown, err = p.access(r)
	}
	if err != nil {
		p.Fail(w, r, err)
		return
	}
	shown.Data.(*accessData).New = made
	p.Show(w, r, http.StatusCreated, shown)
}

func (p *Server) account(r *http.Request) (*frame.Page, error) {
	var self access.Identity
	err := p.Get(r, "/access/self", &self)
	return &frame.Page{Title: "Your account", Nav: "/account", Body: "account", Data: &self}, err
}

func (p *Server) setOwnPassword(r *http.Request) (to, said string, err error) {
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		return "", "", frame.Wrong("the two new passwords differ")
	}
	return "/account", "Your password is another now. Your other sessions have ended.",
		p.Do(r, http.MethodPut, "/access/self/password", accounts.ChangeOwnPassword{Old: r.PostFormValue("old"), New: password}, nil)
}

// auditData is what the audit log shows.
type auditData struct {
	accounts.AuditPage
	Search string
	Failed bool // only what was refused or failed
	Older  string
	Newest bool
}

// auditPart is how many entries of the audit log a page asks for.
const auditPart = 200

func (p *Server) audit(r *http.Request) (*frame.Page, error) {
	q := r.URL.Query()
	d := auditData{Search: strings.TrimSpace(q.Get("search")), Failed: q.Get("failed") != "", Newest: q.Get("before") == ""}
	ask := url.Values{"limit": {strconv.Itoa(auditPart)}}
	if !d.Newest {
		ask.Set("before", q.Get("before"))
	}
	if err := p.Get(r, "/audit?"+ask.Encode(), &d.AuditPage); err != nil {
		return nil, err
	}
	if d.Before > 0 {
		q.Set("before", strconv.FormatInt(d.Before, 10))
		d.Older = "/audit?" + q.Encode()
	}
	want := strings.ToLower(d.Search)
	var shown []access.Entry
	for _, e := range d.Entries {
		text := strings.ToLower(strings.Join([]string{e.Who, e.How, e.Remote, e.Action, e.Target, e.Detail, e.Error}, " "))
		if strings.Contains(text, want) && (!d.Failed || e.Error != "") {
			shown = append(shown, e)
		}
	}
	d.Entries = shown
	out := &frame.Page{Title: "Audit log", Nav: "/audit", Body: "audit", Data: &d}
	if d.Newest {
		out.Live = frame.Rather
	}
	return out, nil
}
