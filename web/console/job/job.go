// Package job is the work of the console that takes long: imports, validations,
// repairs. A job has the rights of whoever started it, and goes on when the browser
// is gone.
package job

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"castpoint/agent"
	"castpoint/agent/protocol"
)

// Job is something that takes long.
type Job struct {
	ID          string
	What        string // for people, as in "add install.wim"
	By          string
	Began       time.Time
	Ended       time.Time // zero while it runs
	Done, Total int64     // bytes; Total is 0 while it is not known
	Said        string    // result, when it has gone well
	To          string    // page of the result
	Problem     *protocol.Problem

	cancel context.CancelFunc
}

// Rate is how fast it went in all, "" while that is not known.
func (j *Job) Rate() string {
	seconds := time.Since(j.Began).Seconds()
	if j.Done == 0 || seconds < 1 {
		return ""
	}
	return agent.Size(int64(float64(j.Done)/seconds)) + "/s"
}

// Over says whether the job has ended.
func (j *Job) Over() bool { return !j.Ended.IsZero() }

// Jobs are those that run and the last ones that have ended.
type Jobs struct {
	ctx     context.Context // ends with the console
	running sync.WaitGroup

	mu   sync.Mutex
	next int
	all  []*Job // oldest first
}

// Keep is how many jobs that are over are remembered.
const Keep = 50

// New makes an empty list, whose jobs end with ctx.
func New(ctx context.Context) *Jobs { return &Jobs{ctx: ctx} }

// Start runs work with the rights of whoever sent the request, but not for only as
// long as the request: the browser may go. A job that has gone well and has nothing
// to say is forgotten at its end.
func (js *Jobs) Start(request context.Context, what, by string, work func(ctx context.Context, progress func(done, total int64)) (said, to string, err error)) string {
	ctx, cancel := context.WithCancel(context.WithoutCancel(request))
	detach := context.AfterFunc(js.ctx, cancel)
	js.mu.Lock()
	js.next++
	j := &Job{ID: strconv.Itoa(js.next), What: what, By: by, Began: time.Now(), cancel: cancel}
	js.all = append(js.all, j)
	if over := slices.IndexFunc(js.all, func(j *Job) bool { return j.Over() }); len(js.all) > Keep && over >= 0 {
		js.all = slices.Delete(js.all, over, over+1)
	}
	js.mu.Unlock()
	js.running.Go(func() {
		defer cancel()
		defer detach()
		said, to, err := work(ctx, func(done, total int64) {
			js.mu.Lock()
			defer js.mu.Unlock()
			j.Done, j.Total = done, total
		})
		js.mu.Lock()
		defer js.mu.Unlock()
		j.Ended, j.Said, j.To = time.Now(), said, to
		if err == nil {
			if said == "" {
				js.all = slices.DeleteFunc(js.all, func(other *Job) bool { return other == j })
			}
			return
		}
		if ctx.Err() != nil {
			j.Problem = &protocol.Problem{Detail: "it was cancelled"}
		} else if !errors.As(err, &j.Problem) {
			j.Problem = &protocol.Problem{Detail: err.Error()}
		}
	})
	return j.ID
}

// List is all jobs, newest first; over says whether with those that have ended.
func (js *Jobs) List(over bool) []Job {
	js.mu.Lock()
	defer js.mu.Unlock()
	var list []Job
	for _, j := range js.all {
		if over || !j.Over() {
			list = append(list, *j)
		}
	}
	slices.SortStableFunc(list, func(a, b Job) int { return cmp.Compare(b.Began.UnixNano(), a.Began.UnixNano()) })
	return list
}

// Cancel ends a job.
func (js *Jobs) Cancel(id string) bool {
	js.mu.Lock()
	defer js.mu.Unlock()
	for _, j := range js.all {
		if j.ID == id && !j.Over() {
			j.cancel()
			return true
		}
	}
	return false
}

// Dismiss forgets a job that is over.
func (js *Jobs) Dismiss(id string) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.all = slices.DeleteFunc(js.all, func(j *Job) bool { return j.ID == id && j.Over() })
}

// Wait is for the end of the console.
func (js *Jobs) Wait() { js.running.Wait() }
