package step

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// logName is what the log is called, on the machine and on the server: that of the
// system on the disk is one of its own, which the log of the boot environment does not
// replace.
func (e *engine) logName() string {
	if e.onDisk() {
		return "sequence-disk.log"
	}
	return "sequence.log"
}

// maxLog bounds the log on a machine that keeps it in memory.
const maxLog = 8 << 20

// log is the log of a run on this machine, from one start to the next.
type log struct {
	mu   sync.Mutex
	file *os.File
	size int
}

func openLog(folder, name string) (*log, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the log: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return &log{file: f}, nil
}

// write adds a text with a time in front of it. A log that is full says so once.
func (l *log) write(at time.Time, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > maxLog {
		return
	}
	line := at.UTC().Format("2006-01-02T15:04:05.000Z ") + text + "\n"
	if l.size += len(line); l.size > maxLog {
		line = "the log is full\n"
	}
	_, _ = l.file.WriteString(line) // a log that cannot be written stops nothing
}

func (l *log) close() { _ = l.file.Close() }

// say tells the person and the log.
func (e *engine) say(format string, args ...any) {
	text := e.mask(fmt.Sprintf(format, args...))
	e.log.write(e.now(), text)
	e.o.Person.Say(text)
}

// sendLog sends the log to the server, if it can be had.
func (e *engine) sendLog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	f, err := os.Open(e.log.file.Name())
	if err == nil {
		defer f.Close()
		err = e.o.Server.Log(ctx, e.logName(), f)
	}
	if err != nil {
		e.say("the log could not be sent: %v", err)
	}
}

const logTime = 30 * time.Second
