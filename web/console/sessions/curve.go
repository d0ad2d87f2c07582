package sessions

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"castpoint/agent"
	"castpoint/web/console/frame"
	"castpoint/web/session"
)

// sampleTime is how often the rates of sessions are looked at.
const sampleTime = time.Second

// keepSamples is how many samples a curve has at most. A longer session has a
// coarser curve: when it is full, each two samples become one.
const keepSamples = 600

// curves are the rates of sessions over time, by id of the session.
type curves struct {
	mu   sync.Mutex
	byID map[string]*curve
}

// curve is the rate of one session. Every sample stands for step samples.
type curve struct {
	samples []sample
	step    int
	part    []sample // fewer than step, not yet one sample
}

// sample is a moment of a session.
type sample struct {
	at     time.Time
	rate   float64 // bits per second, measured
	target float64 // bits per second, allowed
	repair float64 // bits per second of rate that were repair
	sent   uint64  // bytes since the beginning
	again  uint64  // bytes of sent that were repair
}

func newCurves() *curves { return &curves{byID: make(map[string]*curve)} }

func (cs *curves) routineSample(ctx context.Context, sessions func() []session.Info) {
	tick := time.NewTicker(sampleTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			cs.take(now, sessions())
		}
	}
}

// take adds a sample of each session that sends, and forgets those that are no
// longer listed.
func (cs *curves) take(now time.Time, list []session.Info) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	listed := make(map[string]bool, len(list))
	for i := range list {
		s := &list[i]
		listed[s.ID] = true
		if s.Ended != nil || s.Began == nil {
			continue
		}
		c := cs.byID[s.ID]
		if c == nil {
			c = &curve{step: 1}
			cs.byID[s.ID] = c
		}
		c.add(sample{at: now, rate: s.Rate, target: s.Target, sent: s.Sent, again: s.Repair})
	}
	for id := range cs.byID {
		if !listed[id] {
			delete(cs.byID, id)
		}
	}
}

func (c *curve) add(s sample) {
	c.part = append(c.part, s)
	if len(c.part) < c.step {
		return
	}
	one := mean(c.part)
	c.part = c.part[:0]
	if n := len(c.samples); n > 0 {
		if d := one.at.Sub(c.samples[n-1].at).Seconds(); d > 0 && one.again >= c.samples[n-1].again {
			one.repair = min(one.rate, 8*float64(one.again-c.samples[n-1].again)/d)
		}
	}
	c.samples = append(c.samples, one)
	if len(c.samples) < keepSamples {
		return
	}
	for i := range keepSamples / 2 {
		c.samples[i] = mean(c.samples[2*i : 2*i+2])
	}
	c.samples, c.step = c.samples[:keepSamples/2], 2*c.step
}

// mean is the average of samples that follow each other, at the time of the last.
func mean(list []sample) sample {
	one := list[len(list)-1]
	one.rate, one.target, one.repair = 0, 0, 0
	n := float64(len(list))
	for _, s := range list {
		one.rate += s.rate / n
		one.target += s.target / n
		one.repair += s.repair / n
	}
	return one
}

// of is the curve of a session, nil while there is none.
func (cs *curves) of(id string) *chart {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.byID[id]
	if c == nil || len(c.samples) < 2 {
		return nil
	}
	return newChart(c.samples)
}

// chart is a curve as it is drawn: a picture of chartWidth by chartHeight units.
type chart struct {
	Rate, Repair string // points of an area
	Target       string // points of a line
	Ticks        []tick
	Span         string // of time, in all
	Peak         string // the highest rate
}

// tick is a line across the picture, with its value.
type tick struct {
	Y     float64
	Value string
}

const (
	chartWidth  = 600.0
	chartHeight = 140.0
)

func newChart(list []sample) *chart {
	peak := 0.0
	for _, s := range list {
		peak = max(peak, s.rate)
	}
	top := niceAbove(peak)
	first, last := list[0].at, list[len(list)-1].at
	length := max(last.Sub(first).Seconds(), 1)
	x := func(s sample) float64 { return chartWidth * s.at.Sub(first).Seconds() / length }
	y := func(rate float64) float64 { return chartHeight * (1 - min(1, rate/top)) }
	area := func(value func(sample) float64) string {
		var b strings.Builder
		fmt.Fprintf(&b, "0,%g", chartHeight)
		for _, s := range list {
			fmt.Fprintf(&b, " %.1f,%.1f", x(s), y(value(s)))
		}
		fmt.Fprintf(&b, " %g,%g", chartWidth, chartHeight)
		return b.String()
	}
	c := &chart{
		Rate:   area(func(s sample) float64 { return s.rate }),
		Repair: area(func(s sample) float64 { return s.repair }),
		Span:   frame.Span(last.Sub(first)), Peak: agent.Rate(peak),
	}
	var line []string
	for _, s := range list {
		if s.target > 0 && s.target <= top {
			line = append(line, fmt.Sprintf("%.1f,%.1f", x(s), y(s.target)))
		}
	}
	c.Target = strings.Join(line, " ")
	for _, part := range []float64{1, 0.5} {
		c.Ticks = append(c.Ticks, tick{y(part * top), agent.Rate(part * top)})
	}
	return c
}

// niceAbove is the next of 1, 2, 4, 6, 8 times a power of ten.
func niceAbove(v float64) float64 {
	if v <= 0 {
		return 1e6
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 6, 8} {
		if step*power >= v {
			return step * power
		}
	}
	return 10 * power
}
