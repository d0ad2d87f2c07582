// Package admin is the admin API: its operations, put together, and the status of the
// server. What the operations do is in the packages below it, one for each kind of thing,
// with the requests and answers. Package api says how an operation is made, package access
// who may call it, package call is the client.
//
// An answer that a person or a program reads is a type of these packages, or of the
// package that knows the thing. Errors of those packages get their status where the
// operations are, and so operations return them as they are.
package admin
