// Package frame is what all pages of the console have in common: the frame around
// them, forms and what they answer, live pages, jobs, lists in parts, the style
// sheet and the script. What is on the pages is said in the rooms beside it, which
// add them.
//
// A page asks the admin API in this process, in the name of whoever is logged in:
// the context of the request says who that is. So nothing can be seen or done in
// the console that the API refuses, and what is done is recorded where the API
// records it.
//
// Terms:
//
//   - a page is a title, a template and its data; a page that is live is drawn
//     again at its interval while somebody watches it, and sent when it differs;
//   - an action is a form that was sent: it changes something, then leads to a
//     page with one line that says what was done. An action that is to be sure asks
//     first, on a page of its own;
//   - a job is an action that takes long (package job).
package frame
