// Package httpboot serves boot files by HTTP and HTTPS to firmware and boot
// loaders: the handler, a server with limits that suit them, and the certificates
// of castpoint's own authority.
package httpboot
