// Package call calls the admin API: of the server that has a data folder, by its unix
// socket or the file that it leaves there, of one at a URL, or of a handler in this
// process. Commands and the console have no other way to a server.
//
// A refusal comes back as the *protocol.Problem that the server answered. Package api
// says which function of a [Client] an operation wants: [Client.Call] for one answer,
// [List] for all pages of a list, [Client.Stream] for work with progress,
// [Client.Follow] for events.
package call
