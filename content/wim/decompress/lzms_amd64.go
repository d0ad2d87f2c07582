package decompress

import "golang.org/x/sys/cpu"

// lzmsRun decodes items until a code must be made anew, or something comes that
// it leaves to LZMS.items: a delta match, the end of dst or src. The offset and the
// length of a match that does not fit are returned, otherwise 0 and 0. It needs
// 64 bytes of dst at least.
//
//go:noescape
func lzmsRun(d *LZMS, dst []byte) (offset, length uint32)

// lzmsHasRun says that the processor has what lzmsRun needs: BMI2 is younger than
// SSSE3.
var lzmsHasRun = cpu.X86.HasBMI2 && cpu.X86.HasSSSE3

// decode makes all of dst. items does it as well, and nearly all that it does is what
// a compiler puts on the stack for want of registers.
func (d *LZMS) decode(dst []byte) error {
	if d.plain || !lzmsHasRun || len(dst) < 64 {
		return d.items(dst, len(dst))
	}
	for d.pos < len(dst) {
		offset, length := lzmsRun(d, dst)
		if length > 0 {
			return misfit(int(length), int(offset), d.pos, len(dst))
		}
		due := false
		for _, c := range []*lzmsCode{&d.literal, &d.length, &d.lzOffset} {
			if c.left == 0 {
				c.rebuild()
				due = true
			}
		}
		if !due {
			if err := d.items(dst, d.pos+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// lzmsMark is lzmsMarkPlain.
func lzmsMark(marks []uint64, b []byte) {
	n := min(len(marks), (len(b)-1)/64)
	if n > 0 {
		lzmsMarkWords(marks[:n], b)
	}
	lzmsMarkPlain(marks[n:], b[64*n:])
}

// lzmsMarkWords is lzmsMark where b has a byte more than marks has bits.
//
//go:noescape
func lzmsMarkWords(marks []uint64, b []byte)
