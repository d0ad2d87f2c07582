package event

import "sync/atomic"

// followLength is how far a follower may lag behind.
const followLength = 256

// Follower gets events as they happen. One that does not keep up misses events and
// is told how many; nobody waits for it.
type Follower struct {
	filter   Filter
	events   chan Event
	missed   atomic.Uint64
	recorder *Recorder
}

// Follow begins to collect the events of a filter, of the ones that are stored
// from now on. Close it.
func (r *Recorder) Follow(filter Filter) *Follower {
	f := &Follower{filter: filter, events: make(chan Event, followLength), recorder: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.followers == nil {
		close(f.events)
	} else {
		r.followers[f] = struct{}{}
	}
	return f
}

// Events gives the events in order. It is closed when the recorder is.
func (f *Follower) Events() <-chan Event { return f.events }

// Missed counts the events that came too fast for this follower; the query for
// those behind the last one that it has seen brings them.
func (f *Follower) Missed() uint64 { return f.missed.Load() }

// Close ends the following.
func (f *Follower) Close() {
	f.recorder.mu.Lock()
	defer f.recorder.mu.Unlock()
	delete(f.recorder.followers, f)
}

// offer passes a batch on as far as there is room. recorder.mu is held.
func (f *Follower) offer(batch []Event) {
	for i := range batch {
		if !f.filter.wants(&batch[i]) {
			continue
		}
		select {
		case f.events <- batch[i]:
		default:
			f.missed.Add(1)
		}
	}
}

func (r *Recorder) endFollowers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.followers {
		close(f.events)
	}
	r.followers = nil
}
