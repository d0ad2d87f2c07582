// Package images has the commands about files of Windows that need no server: castpoint
// wim and castpoint bcd.
package images
