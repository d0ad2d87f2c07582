// Package secret keeps secret variables of collections and devices: sealed in the
// database with a key that is beside it, never shown, only counted by name.
package secret
