// Package access decides who may use the admin API and the console, and keeps
// the record of what they changed.
//
// Three kinds of credentials lead to an [Identity]:
//
//   - whoever opens the unix socket in the data folder is the host's
//     administrator ([As]);
//   - a token, shown as "Authorization: Bearer", is a program with a scope;
//   - a session, shown as a cookie, is a person who logged in with a password or
//     by OIDC. Requests that change something show the session's CSRF token too.
//
// [Guard.Require] is the middleware that turns a request's credentials into the
// identity in its context, and refuses what has none; [From] reads it. Secrets are
// random and kept as SHA-256; passwords are kept as argon2id.
//
// Only the login page and what is below it can be reached without credentials,
// see [Guard.Require].
package access
