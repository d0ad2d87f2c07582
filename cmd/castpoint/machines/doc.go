// Package machines has the commands about devices, their addresses, and what one would
// get.
package machines
