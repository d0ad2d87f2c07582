package frame

import "net/http"

// loginData is what the login page shows.
type loginData struct {
	Next   string // the page behind it
	Failed string // why it is shown again
	OIDC   bool
}

// failures are what the login page says, by the reason in its address.
var failures = map[string]string{
	"denied": "The name or the password is wrong.",
	"locked": "Too many failed logins: wait some minutes.",
	"oidc":   "The identity provider did not say who you are, or you may not enter here.",
	"server": "The server could not check it. Its log says why.",
}

// login shows the login page. The form goes to whoever keeps the sessions.
func (f *Frame) login(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	d := loginData{Next: q.Get("next"), OIDC: f.cfg.OIDC, Failed: failures[q.Get("failed")]}
	v, _ := f.view(r, &Page{Title: "Log in", Data: &d})
	f.write(w, r, http.StatusOK, "login", v)
}
