package console

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"castpoint/agent/protocol"
)

// job is something that takes long: an import, a validation, a repair.
type job struct {
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

// Over says whether the job has ended.
func (j *job) Over() bool { return !j.Ended.IsZero() }

// jobs are those that run and the last ones that have ended.
type jobs struct {
	ctx     context.Context // ends with the console
	running sync.WaitGroup

	mu   sync.Mutex
	next int
	all  []*job // oldest first
}

// keepJobs is how many jobs that are over are remembered.
const keepJobs = 50

func newJobs(ctx context.Context) *jobs { return &jobs{ctx: ctx} }

// start runs work with the rights of whoever sent the request, but not for only as
// long as the request: the browser may go.
func (js *jobs) start(request context.Context, what, by string, work func(ctx context.Context, progress func(done, total int64)) (said, to string, err error)) string {
	ctx, cancel := context.WithCancel(context.WithoutCancel(request))
	detach := context.AfterFunc(js.ctx, cancel)
	js.mu.Lock()
	js.next++
	j := &job{ID: strconv.Itoa(js.next), What: what, By: by, Began: time.Now(), cancel: cancel}
	js.all = append(js.all, j)
	if over := slices.IndexFunc(js.all, func(j *job) bool { return j.Over() }); len(js.all) > keepJobs && over >= 0 {
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

// list is all jobs, newest first; over says whether with those that have ended.
func (js *jobs) list(over bool) []job {
	js.mu.Lock()
	defer js.mu.Unlock()
	var list []job
	for _, j := range js.all {
		if over || !j.Over() {
			list = append(list, *j)
		}
	}
	slices.SortStableFunc(list, func(a, b job) int { return cmp.Compare(b.Began.UnixNano(), a.Began.UnixNano()) })
	return list
}

// cancel ends a job.
func (js *jobs) cancel(id string) bool {
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

// dismiss forgets a job that is over.
func (js *jobs) dismiss(id string) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.all = slices.DeleteFunc(js.all, func(j *job) bool { return j.ID == id && j.Over() })
}

// wait is for the end of the console.
func (js *jobs) wait() { js.running.Wait() }
