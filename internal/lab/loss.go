package lab

import (
	"fmt"
	"math"
	"strings"

	"golang.org/x/net/bpf"
)

// What a classifier returns to the kernel (linux/pkt_cls.h).
const (
	actionOK   = 0 // TC_ACT_OK
	actionShot = 2 // TC_ACT_SHOT
)

const etherTypeIPv4 = 0x0800

// lossProgram is a packet filter that drops the given share of IPv4 packets, in
// the text form of tc's "bytecode". It takes the kernel's random number, so it
// works where the netem queue is not built in. ARP always passes.
func lossProgram(share float64) (string, error) {
	threshold := uint32(math.Min(share*math.MaxUint32, math.MaxUint32))
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeIPv4, SkipTrue: 2},
		bpf.LoadExtension{Num: bpf.ExtRand},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: threshold, SkipTrue: 1},
		bpf.RetConstant{Val: actionOK},
		bpf.RetConstant{Val: actionShot},
	})
	if err != nil {
		return "", fmt.Errorf("assemble the loss filter: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d", len(code))
	for _, c := range code {
		fmt.Fprintf(&b, ",%d %d %d %d", c.Op, c.Jt, c.Jf, c.K)
	}
	return b.String(), nil
}
