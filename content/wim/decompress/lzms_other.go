//go:build !amd64

package decompress

// decode makes all of dst.
func (d *LZMS) decode(dst []byte) error { return d.items(dst, len(dst)) }

// lzmsMark is markPlain.
func lzmsMark(marks []uint64, b []byte) { lzmsMarkPlain(marks, b) }
