// Package loglevel lets the named loggers of a program have levels of their own,
// which change while it runs.
package loglevel

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Levels are the level of a program and those of some of its loggers. The level of
// a logger is that of its own name, or of the longest name it is below: the logger
// dhcp.lease is below dhcp.
type Levels struct {
	change sync.Mutex
	set    atomic.Pointer[settings]
}

// settings are never changed, only replaced.
type settings struct {
	base, least zapcore.Level
	own         map[string]zapcore.Level
}

// New makes levels of which all are the same.
func New(base zapcore.Level) *Levels {
	l := &Levels{}
	l.set.Store(&settings{base: base, least: base})
	return l
}

// Replace sets all levels anew.
func (l *Levels) Replace(base zapcore.Level, own map[string]zapcore.Level) {
	l.change.Lock()
	defer l.change.Unlock()
	l.store(base, maps.Clone(own))
}

// store needs l.change.
func (l *Levels) store(base zapcore.Level, own map[string]zapcore.Level) {
	s := &settings{base: base, least: base, own: own}
	for _, level := range own {
		s.least = min(s.least, level)
	}
	l.set.Store(s)
}

// Set gives a logger a level of its own; "" is the program's.
func (l *Levels) Set(name string, level zapcore.Level) {
	l.change.Lock()
	defer l.change.Unlock()
	s := l.set.Load()
	if name == "" {
		l.store(level, s.own)
		return
	}
	own := maps.Clone(s.own)
	if own == nil {
		own = make(map[string]zapcore.Level)
	}
	own[name] = level
	l.store(s.base, own)
}

// Reset lets a logger have the program's level again.
func (l *Levels) Reset(name string) {
	l.change.Lock()
	defer l.change.Unlock()
	s := l.set.Load()
	own := maps.Clone(s.own)
	delete(own, name)
	l.store(s.base, own)
}

// Of is the level of a logger, and whether it is its own.
func (l *Levels) Of(name string) (level zapcore.Level, own bool) {
	s := l.set.Load()
	_, own = s.own[name]
	return s.of(name), own
}

func (s *settings) of(name string) zapcore.Level {
	for len(s.own) > 0 && name != "" {
		if level, ok := s.own[name]; ok {
			return level
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return s.base
}

// Parse reads rows as of the setting log-levels, NAME=LEVEL.
func Parse(rows []string) (map[string]zapcore.Level, error) {
	own := make(map[string]zapcore.Level, len(rows))
	for _, row := range rows {
		name, text, ok := strings.Cut(row, "=")
		level, err := zapcore.ParseLevel(text)
		if !ok || name == "" || err != nil {
			return nil, fmt.Errorf("%q: want NAME=LEVEL, as in dhcp=debug", row)
		}
		own[name] = level
	}
	return own, nil
}

// Wrap makes a logger whose records go by these levels. Its own core takes all.
func (l *Levels) Wrap(c zapcore.Core) *zap.Logger { return zap.New(&core{c, l}) }

// core looks at the name of each record's logger.
type core struct {
	zapcore.Core
	levels *Levels
}

func (c *core) Enabled(level zapcore.Level) bool { return level >= c.levels.set.Load().least }

func (c *core) With(fields []zapcore.Field) zapcore.Core { return &core{c.Core.With(fields), c.levels} }

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level < c.levels.set.Load().of(e.LoggerName) {
		return ce
	}
	return c.Core.Check(e, ce)
}
