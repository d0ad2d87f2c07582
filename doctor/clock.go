package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/beevik/ntp"
)

// clockFirst is before every release of this program.
var clockFirst = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// A clock that is off by more than clockWrong is wrong for certificates, tokens and
// logs; people would want to know of one that is off by more than clockOff.
const (
	clockWrong = time.Minute
	clockOff   = 2 * time.Second
)

// Time servers are asked at most so many, and for so long.
const (
	timeServersMost = 8
	timeServerLimit = 3 * time.Second
)

// TimeServer is one that can be asked.
type TimeServer struct {
	Address string // host, or host:port
	Of      string // who names it: "setting ntp"
}

// answered is what a time server says.
type answered struct {
	TimeServer
	ahead time.Duration // of this machine's clock
	err   error
}

func clock(ctx context.Context, t *Target) []Finding {
	now := t.Now()
	says := now.UTC().Format(time.DateTime) + " UTC"
	var all []Finding
	switch {
	case now.Before(clockFirst):
		all = append(all, Finding{Level: Attention, Text: "the clock says " + says, Do: "set it: certificates and tokens are not valid at that time"})
	case unkept():
		all = append(all, Finding{Level: Note, Text: says + ", by a clock that nothing keeps in time", Do: "run chrony or systemd-timesyncd"})
	default:
		all = append(all, Finding{Level: OK, Text: says})
	}
	return append(all, judgeClock(askTime(ctx, t))...)
}

// unkept says whether the kernel knows of nobody who keeps the clock.
func unkept() bool {
	var tx syscall.Timex
	const unsynchronized = 0x40 // STA_UNSYNC of adjtimex(2)
	_, err := syscall.Adjtimex(&tx)
	return err == nil && tx.Status&unsynchronized != 0
}

// askTime asks the time servers, all at once.
func askTime(ctx context.Context, t *Target) []answered {
	servers := t.TimeServers[:min(len(t.TimeServers), timeServersMost)]
	all := make([]answered, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		asking.Go(func() {
			all[i].TimeServer = s
			if all[i].err = ctx.Err(); all[i].err != nil {
				return
			}
			r, err := ntp.QueryWithOptions(s.Address, ntp.QueryOptions{Timeout: timeServerLimit})
			if err == nil {
				err = r.Validate()
			}
			if all[i].err = err; err == nil {
				all[i].ahead = r.ClockOffset
			}
		})
	}
	asking.Wait()
	return all
}

// judgeClock compares this clock with those of time servers. When one of them agrees
// with it, it is the others that are wrong.
func judgeClock(servers []answered) (all []Finding) {
	agrees := false
	for _, s := range servers {
		agrees = agrees || s.err == nil && s.ahead.Abs() <= clockWrong
	}
	for _, s := range servers {
		who := fmt.Sprintf("time server %s (%s)", s.Address, s.Of)
		off := s.ahead.Abs().Round(time.Millisecond)
		if off > time.Minute {
			off = off.Round(time.Second)
		}
		behind, ahead := "behind", "ahead of"
		if s.ahead < 0 {
			behind, ahead = "ahead of", "behind"
		}
		switch {
		case s.err != nil:
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("%s does not tell the time: %s", who, shorten(s.err)),
				Do: "look whether it runs and UDP port 123 is open; machines that are told of it get no time either"})
		case s.ahead.Abs() > clockWrong && agrees:
			all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s is %s %s this clock, with which another time server agrees", who, off, ahead),
				Do: "correct that server, or tell machines of another one (ntp)"})
		case s.ahead.Abs() > clockWrong:
			all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("this clock is %s %s %s", off, behind, who),
				Do: "set it (chronyc makestep, or timedatectl set-ntp true), unless it is that server that is wrong: machines take their time from here, and certificates and tokens are judged by it"})
		case s.ahead.Abs() > clockOff:
			all = append(all, Finding{Level: Note, Text: fmt.Sprintf("this clock is %s %s %s", off, behind, who), Do: "run chrony or systemd-timesyncd with it"})
		default:
			all = append(all, Finding{Level: OK, Text: fmt.Sprintf("%s agrees within %s", who, max(off, time.Millisecond))})
		}
	}
	return all
}

// shorten leaves out of an error which sockets it was about.
func shorten(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.HasPrefix(text, "read udp") {
		return text[i+2:]
	}
	return text
}
