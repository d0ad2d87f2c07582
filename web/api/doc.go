// Package api is the frame of the admin API: operations with typed requests and
// answers, their OpenAPI document, who may call them, and the record of who did.
// What the operations do is said where they are registered.
//
// # How to add an operation
//
// Write the request as a struct whose fields say where they come from (what it
// embeds is exported), the answer as a struct with JSON names, and register a
// function:
//
//	type approveDevice struct {
//		ID   string         `path:"id" doc:"id, name, UUID or MAC"`
//		Body *ApproveDevice // a pointer: the body may be left out
//	}
//
//	api.Answer(a, api.Operation{
//		ID: "approve-device", Method: http.MethodPost, Path: "/devices/{id}/approve",
//		Scope: access.Operate, Tag: "devices", Summary: "Let a device boot",
//	}, func(ctx context.Context, in *approveDevice) (deploy.Device, error) {
//		api.Note(ctx, "named %q", in.Body.Name)
//		return devices.Approve(ctx, in.ID, access.Name(ctx))
//	})
//
// The function is chosen by the answer:
//
//   - [Answer]: JSON; a list is a [Page], cut by [Cut];
//   - [Act]: nothing, status 204;
//   - [Steps]: JSON lines of progress, and at last a result or a problem ([Step]);
//   - [Follow]: server-sent events, at most so many a second;
//   - [Serve]: bytes, in either direction.
//
// Scope says who may call it. Every call with another method than GET is an entry
// of the audit log under the operation's ID, with the path, and with what the
// function adds by [Note]; an operation that only asks by POST sets Reads. Errors
// are *protocol.Problem, made by [Refusal]; any other error is a failure of the
// server's own, status 500. Unknown fields and parameters are refused before the
// function is called.
//
// Then write the document anew, and look at the difference:
//
//	go test ./cmd/castpoint -run TestOpenAPI -update
package api
