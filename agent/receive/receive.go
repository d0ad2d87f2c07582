// Package receive brings one content to this machine: it joins a session, puts the
// content together in its target, and tells the server how it went.
//
// Order of events in [Receive]:
//
//  1. the target is looked at: nothing is asked of the server for a target that
//     cannot be written;
//  2. join with the token, or with the ticket of the state file;
//  3. room for the whole object is taken, so that a full disk is found now;
//  4. what is there already is hashed, when there was a state file;
//  5. the session is received; when it brings nothing, the reasons are looked
//     for and told, and the rest comes by unicast; when it falls silent, the
//     ticket joins again;
//  6. digest of the whole, fsync, rename, fsync of the folder;
//  7. leave, with statistics.
package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/diagnose"
	"castpoint/agent/protocol"
	"castpoint/agent/target"
	"castpoint/internal/netio"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
	"castpoint/multicast/block"
	"castpoint/multicast/receiver"
	"castpoint/multicast/seal"
)

// Options say what to receive, from where and into what.
type Options struct {
	Server  string // join address, as in https://192.0.2.1:8443
	Pin     string // hash of the server's certificate
	Token   string // admits once; not needed when an earlier receive left its state
	Content string // id or name; "" takes what the token is for
	Out     string // file or disk, for a content of several files a folder that is not there yet
	Force   bool   // replace a file that is there already
	// Pipe is a program and its arguments that gets the object on its standard
	// input, instead of Out. Window is how many bytes wait for it at most; 0 means
	// 256 MiB. What it prints goes to PipeLog; nil means standard error.
	Pipe    []string
	Window  int64
	PipeLog io.Writer

	// Interface to join the group on, by name; "" takes the one that leads to
	// the server.
	Interface string
	Name      string // what this member is called; "" takes the host name
	MAC       string // of the card that the machine booted from; "" when that is not known
	NoUnicast bool   // never fall back to unicast
	// NoMulticast takes everything by unicast, where the content allows it.
	NoMulticast bool
	// Silence is how long to wait for the first datagram; 0 means 5 s.
	Silence time.Duration
	// Patience is how long to go on without a single new block before giving
	// up; 0 means 10 min.
	Patience time.Duration
	// Reach is how long a server that does not answer is asked before anything was
	// received; 0 means 40 s, less than 0 asks once.
	Reach  time.Duration
	Memory int64 // bytes for blocks that are being put together; 0 means 64 MiB
	// VerifySHA256 also computes the SHA-256 of the whole and compares it with the
	// object's name; every block is checked in any case.
	VerifySHA256 bool

	// Report is told what happens, by one goroutine; nil when nobody wants to
	// know.
	Report func(agent.Event)
	Log    *zap.Logger
}

// Result is how a receive ended.
type Result struct {
	Out      string
	Files    int    // of a content that is a folder
	SHA256   string // of a content that is one file
	Size     int64  // bytes
	Blocks   int
	Repaired int // blocks rebuilt with repair symbols
	Unicast  int // blocks that came by unicast
	Resumed  int // blocks that were there already
	Elapsed  time.Duration
}

// Tuning.
const (
	defaultPatience = 10 * time.Minute
	firstPause      = time.Second // before joining again; doubles
	lastPause       = 15 * time.Second
)

// receive is one run of Receive.
type receive struct {
	o      Options
	client *client.Client
	began  time.Time
	target target.Target
	device bool         // the target is to be a disk
	pipe   *target.Pipe // the target, when it is one
	state  string       // path of the state file
	adm    *multicast.Admission
	asm    *assembly.Assembly
	res    Result
	loss   float64
	forged uint64
	// injected counts datagrams that came from others than the server, in sessions that
	// are over and in the one that runs.
	injected, injecting uint64
	gained              time.Time // when the last block came
	blocks              int       // at that time
	stopped             bool      // takes the rest by unicast, until the server asks it back

	// What comes by unicast; fetched guards it and res.Unicast while ranges come at
	// the same time.
	fetched sync.Mutex
	meter   meter
	ranges  float64 // bits per second of the last range; 0 before it
}

// Receive receives one content. It returns when everything is verified and
// durably in place.
//
// Errors: ErrUsage, ErrRefused, a *PinError, a *protocol.Problem of the server;
// ErrPartly when it ended early and what was received is kept for the next call.
func Receive(ctx context.Context, o Options) (_ *Result, err error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Report == nil {
		o.Report = func(agent.Event) {}
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Reach == 0 {
		o.Reach = client.Patience
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname() // without one the server takes the address
	}
	r := &receive{o: o, began: time.Now()}
	defer func() {
		if err != nil {
			r.report(agent.Event{Kind: agent.EventFailed, Message: err.Error()})
		}
	}()
	if len(o.Pipe) > 0 {
		if o.Out != "" {
			return nil, agent.Errorf(agent.ErrUsage, "both an output and a program given: say either --out or --pipe")
		}
		if r.pipe, err = target.NewPipe(o.Pipe, o.Window, o.PipeLog); err == nil {
			r.o.Out = r.pipe.String()
		}
	} else {
		r.device, err = target.Check(o.Out, o.Force)
	}
	if err != nil {
		return nil, err
	}
	if r.client, err = client.New(o.Server, o.Pin, client.HardwareAddresses(o.MAC)); err != nil {
		return nil, err
	}
	defer r.client.Close()
	if r.pipe == nil {
		r.state = target.StatePath(o.Out, r.device)
	}
	if err := r.enter(ctx); err != nil {
		if r.target != nil {
			err = errors.Join(err, r.target.Discard())
		}
		return nil, err
	}
	if o.NoMulticast {
		if !r.mayUnicast() {
			err = agent.Errorf(agent.ErrRefused, "the content may be sent by multicast only")
			r.leave(ctx, err)
			return nil, err
		}
		r.stopped = true
	}
	if r.pipe != nil {
		var running context.Context
		if running, err = r.pipe.Begin(ctx, o.VerifySHA256); err == nil {
			err = r.pipe.Failure(running, r.run(running))
		}
	} else {
		err = r.run(ctx)
	}
	r.leave(ctx, err)
	if err != nil {
		return nil, err
	}
	r.res.Elapsed = time.Since(r.began)
	e := agent.Event{Kind: agent.EventDone, Out: r.o.Out, Files: r.res.Files, SHA256: r.res.SHA256, Whole: o.VerifySHA256}
	if s := r.res.Elapsed.Seconds(); s > 0 {
		e.Rate = float64(r.res.Size) * 8 / s
	}
	r.report(e)
	return &r.res, nil
}

// report fills in what every event has.
func (r *receive) report(e agent.Event) {
	e.Time = time.Now().UTC()
	e.Seconds = time.Since(r.began).Seconds()
	if r.asm != nil {
		e.Blocks, e.Total, e.Bytes, e.Size = r.asm.Have(), r.asm.Blocks(), r.asm.Bytes(), r.asm.Size()
	}
	if r.adm != nil {
		e.Session, e.Group = fmt.Sprintf("%08x", r.adm.Session.ID), r.adm.Session.Group.String()
	}
	e.Unicast, e.Loss, e.Forged = r.res.Unicast, r.loss, r.forged
	e.Injected = r.injected + r.injecting
	e.Repaired = max(e.Repaired, r.res.Repaired)
	r.o.Report(e)
}

// enter joins, by the ticket of an earlier receive or by the token, and makes
// the target ready. On an error nothing is left that was not there before.
func (r *receive) enter(ctx context.Context) error {
	var old *target.State
	var err error
	if r.state != "" {
		old, err = target.ReadState(r.state)
	}
	if err != nil {
		return err
	}
	if old != nil && (old.Pin != r.client.Pin() || (r.o.Content != "" && old.Content != "" && old.Content != r.o.Content)) {
		old = nil // left by a receive of something else
	}
	if old != nil {
		if err := r.open(old.Folder); err != nil {
			return err
		}
		err = r.reached(ctx, func() (err error) {
			r.adm, err = r.join(ctx, multicast.JoinRequest{Ticket: old.Ticket})
			return err
		})
		if p, ok := errors.AsType[*protocol.Problem](err); ok && r.o.Token != "" && (p.Code == protocol.CodeTicketUnknown || p.Code == protocol.CodeSessionEnded) {
			// Blocks that are right are found again by their hashes.
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if r.adm == nil {
		if r.o.Token == "" {
			return agent.Errorf(agent.ErrUsage, "no token given, and no earlier receive of %s to go on with: make one with castpoint token create", r.o.Out)
		}
		// A disk that is full must not cost the token.
		var p *protocol.Policy
		err := r.reached(ctx, func() (err error) {
			p, err = r.client.Policy(ctx, r.o.Token)
			return err
		})
		if err == nil {
			err = r.open(p.Folder)
		}
		if err == nil && p.Size > 0 {
			err = r.target.Reserve(p.Size)
		}
		if err != nil {
			return err
		}
		// The token is good once: when the answer is lost, the nonce shows that it is
		// this machine that asks again.
		req := multicast.JoinRequest{Token: r.o.Token, Nonce: rand.Text()}
		err = r.reached(ctx, func() (err error) {
			r.adm, err = r.join(ctx, req)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := r.prepare(ctx, old); err != nil {
		r.leave(ctx, err)
		return err
	}
	return nil
}

// reached asks a server that may not be there yet.
func (r *receive) reached(ctx context.Context, ask func() error) error {
	return client.Reached(ctx, r.o.Reach, func(err error, pause time.Duration) {
		r.report(agent.Event{Kind: agent.EventAway, Message: fmt.Sprintf("%v; asking again in %s", err, pause)})
	}, ask)
}

// open opens the output, which is of the kind that the content is.
func (r *receive) open(several bool) (err error) {
	_, isFolder := r.target.(*target.Folder)
	switch {
	case several && (r.device || r.pipe != nil):
		return target.ErrFolder
	case r.target != nil && isFolder != several:
		return agent.Errorf(agent.ErrRefused, "output %s: %s was left by a receive of something else: remove it", r.o.Out, r.target.Where())
	case r.target != nil:
	case r.pipe != nil:
		r.target = r.pipe
	case several:
		if _, err := os.Stat(r.o.Out); err == nil {
			return agent.Errorf(agent.ErrRefused, "output %s exists already, and the content is a folder: remove it, or name another", r.o.Out)
		}
		f, err := target.OpenFolder(r.o.Out)
		if err != nil {
			return err
		}
		r.target = f
	default:
		t, err := target.OpenFile(r.o.Out, r.device)
		if err != nil {
			return err
		}
		r.target = t
	}
	return nil
}

func (r *receive) join(ctx context.Context, req multicast.JoinRequest) (*multicast.Admission, error) {
	req.Content, req.Name, req.AES = r.o.Content, r.o.Name, seal.HasAES()
	return r.client.Join(ctx, req)
}

// prepare takes room, writes the state file and looks for blocks of an earlier
// receive.
func (r *receive) prepare(ctx context.Context, old *target.State) (err error) {
	if err := r.assemble(); err != nil {
		return err
	}
	r.res = Result{Out: r.o.Out, Size: r.asm.Size(), Blocks: r.asm.Blocks()}
	what := r.adm.Files[0].Name
	if r.adm.Folder {
		r.res.Files = len(r.adm.Files)
		what = fmt.Sprintf("a folder of %d files", r.res.Files)
	} else {
		r.res.SHA256 = r.adm.Objects[r.adm.Files[0].Object].SHA256
	}
	if err := r.target.Reserve(r.res.Size); err != nil {
		return err
	}
	if r.state != "" {
		st := &target.State{
			Format: target.StateFormat, Server: r.client.Address(), Pin: r.client.Pin(), Ticket: r.adm.Ticket,
			Content: r.o.Content, Folder: r.adm.Folder, SHA256: r.res.SHA256, Size: r.res.Size,
		}
		if err := st.Write(r.state); err != nil {
			return err
		}
	}
	r.report(agent.Event{Kind: agent.EventJoined, Message: what})
	if old != nil || r.target.Resumable() {
		if err := r.asm.Scan(ctx, nil); err != nil {
			return err
		}
		r.res.Resumed = r.asm.Have()
		r.report(agent.Event{Kind: agent.EventResumed})
	}
	r.blocks, r.gained = r.asm.Have(), time.Now()
	return nil
}

// assemble makes the assembly for the session that was joined. What one before it has
// got counts: another session may send other objects beside the same.
func (r *receive) assemble() error {
	targets, err := r.target.Targets(r.adm)
	if err != nil {
		return err
	}
	asm, err := assembly.New(r.adm.Objects, targets)
	if err != nil {
		return err
	}
	if r.o.VerifySHA256 && r.pipe == nil {
		asm.HashWhole()
	}
	if r.asm != nil {
		asm.Adopt(r.asm)
	}
	r.asm = asm
	return nil
}

// run receives until the content is complete and in place.
func (r *receive) run(ctx context.Context) error {
	var err error // of the last session; nil while none has failed
	for pause := firstPause; !r.asm.Complete(); {
		if err != nil && !r.stopped { // ranges need no session
			err = r.again(ctx)
		}
		if err == nil || r.stopped {
			err = r.session(ctx)
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil && r.pipe != nil {
			return fmt.Errorf("interrupted at block %d of %d", r.asm.Have(), r.asm.Blocks())
		}
		if ctx.Err() != nil {
			return agent.Errorf(agent.ErrPartly, "interrupted at block %d of %d; the same command goes on from there", r.asm.Have(), r.asm.Blocks())
		}
		if have := r.asm.Have(); have > r.blocks {
			r.blocks, r.gained, pause = have, time.Now(), firstPause
		}
		if final(err) {
			return r.partly(err)
		}
		if time.Since(r.gained) > r.o.Patience {
			return r.partly(fmt.Errorf("nothing new has come for %s: %w", r.o.Patience, err))
		}
		r.report(agent.Event{Kind: agent.EventAgain, Message: err.Error()})
		_, invited := errors.AsType[*invitation](err)
		if invited {
			r.stopped = false
		}
		if !invited && !errors.Is(err, receiver.ErrKeys) {
			client.Sleep(ctx, pause) // the end of ctx is seen in the next round
			pause = min(2*pause, lastPause)
		}
	}
	if err := r.asm.Finish(ctx); err != nil {
		return fmt.Errorf("output %s: %w", r.o.Out, err)
	}
	if err := r.target.Finish(); err != nil {
		return err
	}
	if r.state == "" {
		return nil
	}
	if err := os.Remove(r.state); err != nil {
		r.o.Log.Warn("state file not removed", zap.Error(err))
	}
	return nil
}

// partly marks an error that leaves blocks behind for the next call. Without
// any, it is the error as it is.
func (r *receive) partly(err error) error {
	_, refused := errors.AsType[*protocol.Problem](err)
	if r.asm.Have() == 0 || refused || r.pipe != nil {
		return err
	}
	return agent.Errorf(agent.ErrPartly, "%w; %d of %d blocks are kept in %s, the same command goes on from there", err, r.asm.Have(), r.asm.Blocks(), r.target.Where())
}

// final says whether trying again cannot help.
func final(err error) bool {
	if p, ok := errors.AsType[*protocol.Problem](err); ok {
		return p.Status < http.StatusInternalServerError
	}
	if _, ok := errors.AsType[*agent.PinError](err); ok {
		return true
	}
	_, disk := errors.AsType[*fs.PathError](err)
	return disk || errors.Is(err, agent.ErrRefused) || errors.Is(err, agent.ErrUsage)
}

// again joins with the ticket.
func (r *receive) again(ctx context.Context) error {
	adm, err := r.join(ctx, multicast.JoinRequest{Ticket: r.adm.Ticket})
	if err != nil {
		return err
	}
	if !sameFiles(adm, r.adm) {
		return agent.Errorf(agent.ErrRefused, "the server now has other files under this content: start again with a new token")
	}
	same := slices.EqualFunc(adm.Objects, r.adm.Objects, func(a, b block.Object) bool { return a.Digest == b.Digest })
	if r.adm = adm; same {
		return nil
	}
	return r.assemble()
}

// sameFiles reports whether two admissions are for the same names and bytes.
func sameFiles(a, b *multicast.Admission) bool {
	return a.Folder == b.Folder && slices.EqualFunc(a.Files, b.Files, func(f, g multicast.File) bool {
		return f.Name == g.Name && a.Objects[f.Object].Digest == b.Objects[g.Object].Digest
	})
}

// session takes part in the session once, and in unicast when nothing comes.
func (r *receive) session(ctx context.Context) error {
	if r.stopped {
		return r.unicast(ctx)
	}
	conn, err := netio.OpenGroupReceiver(netio.GroupReceiverConfig{
		Interface: r.o.Interface, Group: r.adm.Session.Group, Feedback: r.adm.Session.Feedback, SampleArrivals: true,
	})
	if err != nil {
		if r.mayUnicast() {
			return r.silent(ctx, []string{err.Error()})
		}
		return err
	}
	ifi := conn.Interface()
	joined, d := r.doubts(ctx)
	defer d.close()
	rx, err := receiver.New(receiver.Config{
		Admission: *r.adm, Assembly: r.asm, Conn: conn, Memory: r.o.Memory, Silence: r.o.Silence,
		Progress: func(p receiver.Progress) { r.progress(ifi.Name, p) }, Doubt: d.about, Log: r.o.Log,
		Injected: func(from netip.Addr) { r.tellInjected(d, from) },
	})
	if err != nil {
		return errors.Join(agent.Errorf(agent.ErrRefused, "%w", err), conn.Close())
	}
	// While it is joined, the kernel knows; afterwards there is nothing to see.
	look := diagnose.Watch(joined, ifi, r.adm.Session, r.o.Silence)
	err = rx.Run(joined)
	advice := look()
	stats := rx.Stats()
	r.res.Repaired += stats.Repaired
	r.forged += stats.Forged
	r.injected, r.injecting = r.injected+stats.Injected, 0
	if errors.Is(err, receiver.ErrNoDatagrams) {
		return r.silent(ctx, append([]string{err.Error()}, advice...))
	}
	if damaged := d.close(); damaged != nil {
		return damaged
	}
	if errors.Is(err, receiver.ErrMoved) && r.mayUnicast() {
		return r.alone(ctx, err.Error())
	}
	return err
}

func (r *receive) mayUnicast() bool { return !r.o.NoUnicast && !r.adm.MulticastOnly }

// silent says what may be wrong when nothing comes by multicast, and goes on by
// unicast if that is allowed.
func (r *receive) silent(ctx context.Context, advice []string) error {
	r.report(agent.Event{Kind: agent.EventNoDatagrams, Message: "nothing of the session arrives at this machine", Advice: advice})
	if !r.mayUnicast() {
		why := "the content may be sent by multicast only"
		if r.o.NoUnicast {
			why = "unicast is switched off"
		}
		return fmt.Errorf("%w, and %s", receiver.ErrNoDatagrams, why)
	}
	return r.alone(ctx, "")
}

// alone takes what is missing by unicast.
func (r *receive) alone(ctx context.Context, why string) error {
	r.stopped, r.ranges = true, 0
	message := "the rest comes by unicast"
	if why != "" {
		message = why + ": " + message
	}
	r.report(agent.Event{Kind: agent.EventUnicast, Message: message})
	return r.unicast(ctx)
}

func (r *receive) progress(ifi string, p receiver.Progress) {
	r.loss, r.injecting = p.Loss, p.Injected
	e := agent.Event{
		Kind: agent.EventProgress, Interface: ifi, State: p.State, Members: p.Members, Rate: p.Rate,
		Repaired: r.res.Repaired + p.Repaired,
	}
	if p.State == "waiting" {
		e.WaitFor, e.StartsIn = p.WaitFor, p.StartsIn.Seconds()
	}
	if p.Rate > 0 {
		e.Remaining = float64(p.Size-p.Bytes) * 8 / p.Rate
	}
	r.report(e)
}

// leave tells the server how it ended. That it cannot be told changes nothing
// here.
func (r *receive) leave(ctx context.Context, err error) {
	req := multicast.LeaveRequest{
		Complete: err == nil, Seconds: time.Since(r.began).Seconds(),
		Repaired: r.res.Repaired, Unicast: r.res.Unicast,
	}
	if err != nil {
		req.Reason = err.Error()
	}
	if err := r.client.Leave(ctx, r.adm.Ticket, req); err != nil {
		r.o.Log.Warn("leaving failed", zap.Error(err))
	}
	if err != nil {
		r.target.Abandon()
	}
}
