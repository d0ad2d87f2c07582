package revision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/deploy/named"
	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// Config is what Sequences needs.
type Config struct {
	Store *store.Store // required
	// Deployments are the names of those that have a sequence.
	Deployments func(name string) []string
	// Running are the revisions of a sequence that runs are in the middle of.
	Running func(name string) map[int]bool
	Now     func() time.Time // nil: the system's clock
}

// Sequences are the sequences of a distribution point. Its methods are safe for
// concurrent use.
type Sequences struct {
	cfg  Config
	edit sync.Mutex // held while a sequence is written

	mu  sync.RWMutex
	all map[string]*entry // by name, lower case
}

// entry is a sequence with its revisions.
type entry struct {
	name      string
	revisions []revision // oldest first; replaced, never changed
}

type revision struct {
	row    store.Sequence
	parsed *sequence.Sequence
}

// keep is how many revisions of a sequence are kept beside those that runs are in the
// middle of.
const keep = 20

// SequenceInfo is one sequence in a list.
type SequenceInfo struct {
	Name        string    `json:"name"`
	Revision    int       `json:"revision"`
	Description string    `json:"description,omitempty"`
	Steps       int       `json:"steps"`
	Changed     time.Time `json:"changed"`
	By          string    `json:"by,omitempty"`
	Deployments []string  `json:"deployments,omitempty"` // names of those that use it
}

// SequenceText is one revision of a sequence.
type SequenceText struct {
	SequenceInfo
	Text      string             `json:"text"` // YAML
	Leaves    []LeafInfo         `json:"leaves"`
	Revisions []int              `json:"revisions"`
	Problems  []sequence.Problem `json:"problems,omitempty"` // warnings
}

// LeafInfo is a step with an action, as reports number it.
type LeafInfo struct {
	Path   string   `json:"path"`
	Number int      `json:"number"`
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Groups []string `json:"groups,omitempty"` // names, outermost first
}

func leavesOf(s *sequence.Sequence) (list []LeafInfo) {
	for _, l := range s.Leaves() {
		kind, _ := l.Step.Action()
		info := LeafInfo{Path: l.Path, Number: l.Number, Name: l.Step.Title(), Kind: kind}
		for _, group := range l.Groups {
			info.Groups = append(info.Groups, group.Title())
		}
		list = append(list, info)
	}
	return list
}

// Open reads the sequences of a store.
func Open(ctx context.Context, cfg Config) (*Sequences, error) {
	if cfg.Store == nil {
		return nil, errors.New("revision: a store is needed")
	}
	if cfg.Deployments == nil {
		cfg.Deployments = func(string) []string { return nil }
	}
	if cfg.Running == nil {
		cfg.Running = func(string) map[int]bool { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sequences{cfg: cfg, all: make(map[string]*entry)}
	rows, err := cfg.Store.Sequences(ctx)
	if err != nil {
		return nil, fmt.Errorf("read sequences: %w", err)
	}
	for _, row := range rows {
		parsed, err := sequence.Parse([]byte(row.Text))
		if err != nil {
			return nil, fmt.Errorf("read sequence %s, revision %d: %w", row.Name, row.Revision, err)
		}
		s.take(row, parsed)
	}
	return s, nil
}

// take takes a revision into memory. mu is held, or nobody else has s yet.
func (s *Sequences) take(row store.Sequence, parsed *sequence.Sequence) *entry {
	key := strings.ToLower(row.Name)
	old := s.all[key]
	if old == nil {
		old = &entry{name: row.Name}
	}
	e := &entry{old.name, append(slices.Clip(old.revisions), revision{row, parsed})}
	s.all[key] = e
	return e
}

// All are all of them, by name.
func (s *Sequences) All() []SequenceInfo {
	s.mu.RLock()
	entries := make([]*entry, 0, len(s.all))
	for _, e := range s.all {
		entries = append(entries, e)
	}
	s.mu.RUnlock()
	list := make([]SequenceInfo, 0, len(entries))
	for _, e := range entries {
		list = append(list, s.info(e, e.revision(0)))
	}
	slices.SortFunc(list, func(a, b SequenceInfo) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

func (s *Sequences) info(e *entry, r *revision) SequenceInfo {
	return SequenceInfo{
		Name: e.name, Revision: r.row.Revision, Description: r.parsed.Description, Steps: len(r.parsed.Leaves()), Changed: r.row.Time, By: r.row.By,
		Deployments: s.cfg.Deployments(e.name),
	}
}

// Get finds a revision of a sequence, the newest with revision 0.
func (s *Sequences) Get(name string, number int) (SequenceText, error) {
	s.mu.RLock()
	e, err := named.Find(s.all, name, func(e *entry) string { return strings.ToLower(e.name) }, func(e *entry) string { return e.name })
	s.mu.RUnlock()
	if err != nil {
		return SequenceText{}, fmt.Errorf("sequence: %w", err)
	}
	r := e.revision(number)
	if r == nil {
		return SequenceText{}, fmt.Errorf("sequence %s: revision %d: %w", e.name, number, named.ErrNotFound)
	}
	t := SequenceText{SequenceInfo: s.info(e, r), Text: r.row.Text, Leaves: leavesOf(r.parsed)}
	for _, other := range e.revisions {
		t.Revisions = append(t.Revisions, other.row.Revision)
	}
	_, t.Problems = sequence.Check([]byte(t.Text))
	return t, nil
}

// Parsed is a revision of the sequence with that name, the newest with revision 0,
// and its number; nil when there is none.
func (s *Sequences) Parsed(name string, number int) (*sequence.Sequence, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.all[strings.ToLower(name)]; e != nil {
		if r := e.revision(number); r != nil {
			return r.parsed, r.row.Revision
		}
	}
	return nil, 0
}

// NumberOf is the revision that a sequence given by Parsed is; 0 when it is none any
// more.
func (s *Sequences) NumberOf(parsed *sequence.Sequence) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.all[strings.ToLower(parsed.Name)]; e != nil {
		for i := range e.revisions {
			if e.revisions[i].parsed == parsed {
				return e.revisions[i].row.Revision
			}
		}
	}
	return 0
}

// revision is one of the revisions, the newest for 0; nil when it is not there.
func (e *entry) revision(number int) *revision {
	if number == 0 {
		return &e.revisions[len(e.revisions)-1]
	}
	for i := range e.revisions {
		if e.revisions[i].row.Revision == number {
			return &e.revisions[i]
		}
	}
	return nil
}

// Put takes a sequence by its YAML: a new one, or a new revision of the one that has
// its name. Runs that have begun go on with the revision that they have.
func (s *Sequences) Put(ctx context.Context, text, by string) (SequenceText, error) {
	parsed, err := sequence.Parse([]byte(text))
	if err != nil {
		return SequenceText{}, err
	}
	s.edit.Lock()
	defer s.edit.Unlock()
	row := store.Sequence{Name: parsed.Name, Revision: 1, Text: text, By: by, Time: s.cfg.Now().UTC()}
	s.mu.RLock()
	old := s.all[strings.ToLower(parsed.Name)]
	s.mu.RUnlock()
	if old != nil {
		newest := old.revision(0).row
		if newest.Text == text {
			return s.Get(old.name, 0)
		}
		row.Name, row.Revision = old.name, newest.Revision+1
	}
	if err := s.cfg.Store.AddSequence(ctx, row); err != nil {
		return SequenceText{}, fmt.Errorf("sequence %s: %w", row.Name, err)
	}
	s.mu.Lock()
	e := s.take(row, parsed)
	s.mu.Unlock()
	for _, number := range s.spare(e) {
		if err := s.cfg.Store.DeleteSequence(ctx, row.Name, number); err != nil {
			return SequenceText{}, fmt.Errorf("sequence %s: %w", row.Name, err)
		}
	}
	return s.Get(row.Name, 0)
}

// spare takes the oldest revisions away that no run is in the middle of, and says
// which. edit is held.
func (s *Sequences) spare(e *entry) (gone []int) {
	used := s.cfg.Running(e.name)
	spare := len(e.revisions) - keep
	left := slices.DeleteFunc(slices.Clone(e.revisions), func(r revision) bool {
		if spare <= 0 || used[r.row.Revision] {
			return false
		}
		spare--
		gone = append(gone, r.row.Revision)
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[strings.ToLower(e.name)] = &entry{e.name, left}
	return gone
}

// Remove deletes a sequence with all revisions. That nothing has it is the caller's
// to know.
func (s *Sequences) Remove(ctx context.Context, name string) error {
	s.edit.Lock()
	defer s.edit.Unlock()
	if err := s.cfg.Store.DeleteSequence(ctx, name, 0); err != nil {
		return fmt.Errorf("remove sequence %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, strings.ToLower(name))
	return nil
}
