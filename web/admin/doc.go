// Package admin is what the operations of the admin API do, a file for each kind of
// thing, with their requests and answers. Package api says how an operation is made,
// package access who may call it, package call is the client.
//
// An answer that a person or a program reads is a type of this package, or of the
// package that knows the thing. Errors of those packages get their status here
// (deviceProblem, rolloutProblem, accessProblem), and so operations return them as
// they are.
package admin
