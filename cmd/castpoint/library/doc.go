// Package library has the commands about contents, boot programs and boot environments.
package library
