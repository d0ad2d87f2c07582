// Package probe measures the way from a server's multicast to this machine: whether it
// arrives, what is lost, how fast, how large.
package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/diagnose"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/probe"
)

// Options say which way is to be measured.
type Options struct {
	Server    string
	Pin       string
	Token     string // used or not: a probe does not use it up
	Interface string // "" takes the one that leads to the server
	// For is how long to watch whether the group goes on arriving; 0 does not watch.
	For time.Duration
	Say func(string) // told what is being measured; may be nil
}

// Result is what was measured. Rates are those of IP packets in bits per
// second, times are in seconds, sizes are those of IP packets in bytes.
type Result struct {
	Server    string `json:"server"`
	Interface string `json:"interface"`
	Group     string `json:"group"`
	// Sessions were running meanwhile.
	Sessions int `json:"sessions"`

	// Reached says that the group arrives, FirstAfter how long after the join.
	Reached    bool    `json:"reached"`
	FirstAfter float64 `json:"first_after"`
	// Unicast says whether the same UDP port is reached without multicast; it is
	// tried only when the group does not arrive.
	Unicast bool     `json:"unicast"`
	Advice  []string `json:"advice,omitempty"` // what this machine says about the silence

	Loss        float64 `json:"loss"` // share, at LossRate
	LossRate    float64 `json:"loss_rate"`
	LossOf      int     `json:"loss_of"` // packets
	Repeated    int     `json:"repeated"`
	Reordered   int     `json:"reordered"`
	MTU         int     `json:"mtu"`
	ServerMTU   int     `json:"server_mtu"`
	SessionSize int     `json:"session_packet"`

	Rate     float64 `json:"rate"`      // highest without further loss
	RateMost float64 `json:"rate_most"` // highest that was tried
	Received float64 `json:"received"`  // what arrived of the first rate that was too high; 0 for none
	Capped   bool    `json:"capped"`    // RateMost is the server's setting
	// ServerLimit is what the server could send, when that was less than asked for.
	ServerLimit float64 `json:"server_limit"`

	Burst      int `json:"burst"`       // packets back to back without further loss
	BurstMost  int `json:"burst_most"`  // highest that was tried
	LocalDrops int `json:"local_drops"` // datagrams this machine had no room for

	Watched  float64 `json:"watched"`
	Stopped  float64 `json:"stopped"`   // after the join; 0 when it did not
	CameBack bool    `json:"came_back"` // after joining again
	// Queries of IGMP that came, from Querier; QueriesKnown is false when this
	// machine may not look.
	QueriesKnown bool   `json:"queries_known"`
	Queries      int    `json:"queries"`
	Querier      string `json:"querier,omitempty"`
}

// Tuning of probes.
const (
	probeReach   = 20 // datagrams of a train that asks whether anything arrives
	probeSmall   = 100
	probeLoss    = 3000
	probeQuiet   = 20e6 // bits per second that every link takes
	probeSlowest = 1e6
	probeTrain   = 250 * time.Millisecond
	probeLongest = 8 * time.Second
	// probeSpare is the loss above that of the quiet link that counts as caused by
	// the train.
	probeSpare  = 0.02
	probeSettle = 150 * time.Millisecond // nothing new for so long: all has arrived
	probeBursts = 8                      // of each size, at least: small ones are more
	// A server that has sent less than serverShare of a rate, serverTries times, sends
	// no faster.
	serverShare = 0.8
	serverTries = 3
	watchTrain  = 5 * time.Second
	watchGap    = 100 * time.Millisecond
)

// probing is one run of Probe.
type probing struct {
	o      Options
	client *client.Client
	offer  probe.Offer
	reader *probe.Reader
	group  *netio.GroupReceiver
	joined time.Time
	train  uint32
	res    Result

	running sync.WaitGroup
}

// Measure measures the way from a server's multicast to this machine.
//
// Errors: ErrUsage, a *PinError, a *protocol.Problem of the server.
func Measure(ctx context.Context, o Options) (_ *Result, err error) {
	if o.Token == "" {
		return nil, agent.Errorf(agent.ErrUsage, "no token given: make one with castpoint token create; the probe does not use it up")
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	p := &probing{o: o}
	if p.client, err = client.New(o.Server, o.Pin, client.HardwareAddresses("")); err != nil {
		return nil, err
	}
	defer p.client.Close()
	err = client.Reached(ctx, client.Patience, func(err error, pause time.Duration) { o.Say(fmt.Sprintf("%v; asking again in %s", err, pause)) },
		func() error { return p.client.Call(ctx, http.MethodPost, probe.Path, o.Token, nil, &p.offer) })
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// It ends by itself as well.
		_ = p.client.Call(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", probe.Path, p.offer.ID), o.Token, nil, nil)
	}()
	if p.reader, err = probe.NewReader(&p.offer); err != nil {
		return nil, agent.Errorf(agent.ErrRefused, "%w", err)
	}
	if err := p.join(); err != nil {
		return nil, err
	}
	defer func() {
		_ = p.group.Close()
		p.running.Wait()
	}()
	p.res = Result{
		Server: p.client.Address(), Interface: p.group.Interface().Name, Group: p.offer.Group.String(), Sessions: p.offer.Others,
		ServerMTU: p.offer.MTU, SessionSize: probe.SessionPacket(p.offer.Group.Addr()),
		RateMost: p.offer.Rate, Capped: p.offer.Capped,
	}
	queries := diagnose.ListenQueries(p.group.Interface())
	drops := diagnose.UDPDrops()
	err = p.measure(ctx)
	p.res.LocalDrops = max(diagnose.UDPDrops()-drops, 0)
	p.res.QueriesKnown, p.res.Queries, p.res.Querier = queries()
	return &p.res, err
}

// join joins the group and begins to read.
func (p *probing) join() (err error) {
	p.group, err = netio.OpenGroupReceiver(netio.GroupReceiverConfig{Interface: p.o.Interface, Group: p.offer.Group, Feedback: p.offer.Source})
	if err != nil {
		return err
	}
	p.joined = time.Now()
	conn := p.group
	_ = conn.SetReadDeadline(time.Time{})
	p.running.Go(func() {
		for {
			if err := conn.ReadGroup(func(d []byte, _ netip.Addr, at time.Time) { p.reader.Datagram(d, at) }); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		}
	})
	return nil
}

// measure asks one question after the other. What the later ones mean depends on
// what the earlier ones found.
func (p *probing) measure(ctx context.Context) error {
	watching := ""
	if p.o.For > 0 {
		watching = fmt.Sprintf("whether it goes on arriving, for %s", p.o.For)
	}
	for _, step := range []struct {
		say string
		do  func(context.Context) error
	}{
		{"whether the group arrives", p.reach},
		{"loss of a quiet link", p.loss},
		{"the largest packet", p.mtu},
		{"the highest rate", p.rate},
		{"the longest burst", p.burst},
		{watching, p.watch},
	} {
		if step.say != "" {
			p.o.Say(step.say)
		}
		if err := step.do(ctx); err != nil {
			return err
		}
		if !p.res.Reached {
			return nil
		}
	}
	return nil
}

// send asks for a train and waits for what arrives of it. On a slow link it is
// shorter: no train takes longer than probeLongest.
func (p *probing) send(ctx context.Context, t probe.Train) (sent probe.Sent, a probe.Arrived, err error) {
	p.train++
	t.ID, t.Train = p.offer.ID, p.train
	t.Rate = min(t.Rate, p.offer.Rate)
	t.Count = max(min(t.Count, int(probeLongest.Seconds()*t.Rate/8)/t.Size), 1)
	t.Burst = min(t.Burst, t.Count)
	p.reader.Expect(t.Train, t.Count)
	if err := p.client.Call(ctx, http.MethodPost, probe.PathTrain, p.o.Token, t, &sent); err != nil {
		return sent, a, err
	}
	a = p.reader.Arrived()
	for a.Count < sent.Count {
		if !client.Sleep(ctx, probeSettle) {
			return sent, a, ctx.Err()
		}
		before := a.Count
		if a = p.reader.Arrived(); a.Count == before {
			break
		}
	}
	return sent, a, nil
}

// reach asks whether anything arrives: three times, because a switch may take a
// moment to open its port.
func (p *probing) reach(ctx context.Context) error {
	t := probe.Train{Count: probeReach, Size: probeSmall, Rate: probeSmall * 8 * 20}
	for range 3 {
		_, a, err := p.send(ctx, t)
		if err != nil {
			return err
		}
		if a.Count > 0 {
			p.res.Reached, p.res.FirstAfter = true, a.First.Sub(p.joined).Seconds()
			return nil
		}
	}
	ifi := p.group.Interface()
	p.res.Advice = diagnose.Silence(ifi, multicast.Params{Group: p.offer.Group, Feedback: p.offer.Source}, time.Since(p.joined).Round(100*time.Millisecond))
	return p.unicast(ctx, t)
}

// unicast tries the group's port without multicast.
func (p *probing) unicast(ctx context.Context, t probe.Train) error {
	local, err := netio.AddressOn(p.group.Interface(), p.offer.Group.Addr())
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, p.offer.Group.Port())))
	if err != nil {
		return fmt.Errorf("listen for datagrams to this machine: %w", err)
	}
	p.running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			p.reader.Datagram(buf[:n], time.Now())
		}
	})
	defer conn.Close()
	t.Unicast = true
	_, a, err := p.send(ctx, t)
	p.res.Unicast = a.Count > 0
	return err
}

// loss measures what is lost when nothing is in the way. A link that loses a tenth
// may be slower than the train: then the next one is.
func (p *probing) loss(ctx context.Context) error {
	t := probe.Train{Count: probeLoss, Size: min(p.res.SessionSize, p.offer.MTU), Rate: min(probeQuiet, p.offer.Rate/2)}
	var sent probe.Sent
	var a probe.Arrived
	var rate float64
	for {
		var err error
		if sent, a, err = p.send(ctx, t); err != nil {
			return err
		}
		rate = t.Rate
		if sent.Count-a.Count <= sent.Count/10 || t.Rate <= probeSlowest {
			break
		}
		if a.Count == 0 && t.Size > probeSmall {
			// Large packets do not pass at all: the next question finds which do.
			t.Size, t.Rate = probeSmall, 4*probeSlowest
		}
		t.Rate /= 4
	}
	p.res.Loss, p.res.LossOf, p.res.LossRate = share(sent.Count-a.Count, sent.Count), sent.Count, rate
	p.res.Repeated, p.res.Reordered = a.Again, a.Late
	return nil
}

func share(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// mtu finds the largest packet that arrives.
func (p *probing) mtu(ctx context.Context) error {
	passes := func(size int) (bool, error) {
		_, a, err := p.send(ctx, probe.Train{Count: 20, Size: size, Rate: min(5e6, p.offer.Rate)})
		return a.Count >= 10, err
	}
	low, high := probeSmall, p.offer.MTU // low passes
	for size := high; low < high; size = (low + high + 1) / 2 {
		ok, err := passes(size)
		if err != nil {
			return err
		}
		if ok {
			low = size
		} else {
			high = size - 1
		}
	}
	p.res.MTU = low
	return nil
}

// size is that of the packets in rate and burst.
func (p *probing) size() int { return min(p.res.SessionSize, p.res.MTU) }

// clean reports whether a train lost no more than a quiet link does, and chance
// explains: three standard deviations of so few packets.
func (p *probing) clean(sent probe.Sent, a probe.Arrived) bool {
	expected := float64(sent.Count) * (p.res.Loss + probeSpare)
	return float64(sent.Count-a.Count) <= expected+3*math.Sqrt(expected)
}

// rate finds the highest rate that arrives: doubling, then halving the distance.
func (p *probing) rate(ctx context.Context) error {
	try := func(rate float64) (ok bool, err error) {
		t := probe.Train{Count: max(int(rate*probeTrain.Seconds()/8)/p.size(), 200), Size: p.size(), Burst: 8, Rate: rate}
		best := 0.0
		for range serverTries {
			sent, a, err := p.send(ctx, t)
			if err != nil {
				return false, err
			}
			best = max(best, float64(sent.Count*p.size()*8)/max(sent.Seconds, 1e-9))
			if ok = p.clean(sent, a); !ok {
				p.res.Received = a.Rate(p.size())
			}
			if !ok || best > serverShare*rate {
				return ok, nil
			}
		}
		p.res.ServerLimit = best
		return true, nil
	}
	low, high := 0.0, 0.0 // high is too much
	for rate := min(10e6, p.offer.Rate); ; rate = min(2*rate, p.offer.Rate) {
		ok, err := try(rate)
		if err != nil {
			return err
		}
		if !ok {
			high = rate
			break
		}
		if low = rate; rate >= p.offer.Rate || p.res.ServerLimit > 0 {
			break
		}
	}
	for high > 1.1*max(low, probeSlowest) {
		middle := (low + high) / 2
		ok, err := try(middle)
		if err != nil {
			return err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	p.res.Rate = low
	if p.res.ServerLimit > 0 {
		p.res.Rate = min(low, p.res.ServerLimit)
	}
	if high == 0 {
		p.res.Received = 0
	}
	return nil
}

// burst finds how many packets may come back to back when the link is otherwise
// half idle.
func (p *probing) burst(ctx context.Context) error {
	rate := max(p.res.Rate/2, probeSlowest/2)
	for _, n := range []int{4, 8, 16, 32, 44, 64, 96, 128, 192, 256, 384, 512, 768, 1024} {
		one := float64(n*p.size()*8) / rate
		bursts := min(max(probeBursts, 256/n), int(3/one))
		if bursts < 2 {
			return nil
		}
		sent, a, err := p.send(ctx, probe.Train{Count: bursts * n, Size: p.size(), Burst: n, Rate: rate})
		if err != nil {
			return err
		}
		p.res.BurstMost = n
		if !p.clean(sent, a) {
			return nil
		}
		p.res.Burst = n
	}
	return nil
}

// watch looks whether the group goes on arriving: without a querier, switches
// forget who wants it after some minutes.
func (p *probing) watch(ctx context.Context) error {
	if p.o.For <= 0 {
		return nil
	}
	began := time.Now()
	perTrain := min(watchTrain, p.o.For)
	t := probe.Train{Count: int(perTrain / watchGap), Size: probeSmall, Rate: probeSmall * 8 / watchGap.Seconds()}
	last := p.joined
	for silent := 0; time.Since(began) < p.o.For; {
		_, a, err := p.send(ctx, t)
		if err != nil {
			return err
		}
		p.res.Watched = time.Since(began).Seconds()
		if a.Count > 0 {
			silent, last = 0, a.Last
			continue
		}
		if silent++; silent < 2 {
			continue // one pause may have another reason
		}
		p.res.Stopped = last.Sub(p.joined).Seconds()
		if err := p.group.Close(); err != nil {
			return err
		}
		if err := p.join(); err != nil {
			return err
		}
		_, a, err = p.send(ctx, t)
		p.res.CameBack = a.Count > 0
		return err
	}
	return nil
}
