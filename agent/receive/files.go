package receive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/target"
	"castpoint/internal/atomicfile"
	"castpoint/multicast"
)

// filesAtOnce is how many files of a content are fetched at the same time: packages
// have thousands of small ones.
const filesAtOnce = 4

// Files fetches a content that may not be sent by multicast, file by file, with the
// ticket of a run.
type Files struct {
	Client   *client.Client
	Ticket   string
	Patience time.Duration // without a byte, before it is given up
	Percent  func(float64) // how far everything is; called by one goroutine at a time
	size     int64
	mu       sync.Mutex
	got      int64 // bytes; guarded by mu
}

// Fetch brings a content to out: its file, or a folder that is not there yet.
// Every file is compared with its SHA-256 and durable when it returns.
func (f *Files) Fetch(ctx context.Context, c protocol.RunContent, out string) (err error) {
	f.size = max(c.Size, 1)
	if len(c.Files) == 1 {
		file, err := os.OpenFile(out, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("output: %w", err)
		}
		info, err := file.Stat()
		if err == nil && info.Mode().IsRegular() {
			err = file.Truncate(0)
		}
		if err == nil {
			err = f.file(ctx, c.Files[0], file)
		}
		return errors.Join(err, file.Close())
	}
	part := out + target.PartSuffix
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	root, err := os.OpenRoot(part)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for _, one := range c.Files {
		group.Go(func() error { return f.member(ctx, one, root) })
	}
	if err := errors.Join(group.Wait(), root.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, out); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(out))
}

// member fetches a file of a folder. What names the server gives, it stays there.
func (f *Files) member(ctx context.Context, one protocol.File, root *os.Root) error {
	name := filepath.FromSlash(one.Name)
	if !filepath.IsLocal(name) {
		return fmt.Errorf("file %q lies outside the content", one.Name)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	file, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return errors.Join(f.file(ctx, one, file), file.Close())
}

// file fetches one file, from where it broke off when it does.
func (f *Files) file(ctx context.Context, one protocol.File, to *os.File) error {
	sum := sha256.New()
	gained := time.Now()
	for done, pause := int64(0), firstPause; done < one.Size; {
		n, err := f.rest(ctx, one, done, io.MultiWriter(io.NewOffsetWriter(to, done), sum))
		if n > 0 {
			done, gained, pause = done+n, time.Now(), firstPause
		}
		var refused *protocol.Problem
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Status != http.StatusTooManyRequests,
			target.IsFull(err), time.Since(gained) > f.Patience:
			return fmt.Errorf("fetch %s: %w", one.Name, err)
		}
		client.Sleep(ctx, pause) // the end of ctx is seen in the next round
		pause = min(2*pause, lastPause)
	}
	if err := f.same(one, sum); err != nil {
		// The server looks for itself; what it says then is for people.
		_ = f.Client.Doubt(ctx, f.Ticket, one.SHA256, multicast.Doubt{Whole: true})
		return err
	}
	if err := to.Sync(); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

func (f *Files) same(one protocol.File, sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != one.SHA256 {
		return fmt.Errorf("file %s has SHA-256 %s after it was fetched, and should have %s: castpoint content show says whether the server has found it damaged, and castpoint content repair mends it", one.Name, got, one.SHA256)
	}
	return nil
}

// rest fetches what a file has from done on, as far as it comes.
func (f *Files) rest(ctx context.Context, one protocol.File, done int64, to io.Writer) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTime, func() { cancel(errStall) })
	defer stall.Stop()
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", done, one.Size-1)}}
	res, err := f.Client.Request(ctx, http.MethodGet, multicast.PathObject+one.SHA256, f.Ticket, nil, header)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("%s answers %s to a range", f.Client.Address(), res.Status)
	}
	n, err := io.Copy(&counted{to, f}, io.LimitReader(&watched{res.Body, stall}, one.Size-done))
	if err == nil && n < one.Size-done {
		err = io.ErrUnexpectedEOF
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

// advance counts n more bytes and says how far everything is.
func (f *Files) advance(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got += n
	f.Percent(min(100, float64(f.got)/float64(f.size)*100))
}

// counted tells how far everything is.
type counted struct {
	io.Writer
	files *Files
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.files.advance(int64(n))
	return n, err
}
