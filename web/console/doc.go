// Package console is the operator's view in a browser: pages made on the server,
// one style sheet and one small script of our own, and nothing from any other
// host.
//
// A page asks the admin API in this process, in the name of whoever is logged in:
// the context of the request says who that is. So nothing can be seen or done in
// the console that the API refuses, and what is done is recorded where the API
// records it. Without the script every page and every button works; the script
// adds what happens while a page is open, and the progress of uploads.
//
// Terms:
//
//   - a page is a title, a template and its data; a page that is live is drawn
//     again at its interval while somebody watches it, and sent when it differs;
//   - an action is a form that was sent: it changes something, then leads to a
//     page with one line that says what was done;
//   - a job is an action that takes long: it goes on when the browser is gone.
package console
