package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"castpoint/deploy/sequence"
	"castpoint/internal/store"
)

// sequenceEntry is a sequence with its revisions.
type sequenceEntry struct {
	name      string
	revisions []revision // oldest first
}

type revision struct {
	row    store.Sequence
	parsed *sequence.Sequence
}

// keepRevisions is how many revisions of a sequence are kept beside those that runs
// are in the middle of.
const keepRevisions = 20

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

func (g *Register) readSequences(ctx context.Context) error {
	rows, err := g.cfg.Store.Sequences(ctx)
	if err != nil {
		return fmt.Errorf("read sequences: %w", err)
	}
	for _, row := range rows {
		parsed, err := sequence.Parse([]byte(row.Text))
		if err != nil {
			return fmt.Errorf("read sequence %s, revision %d: %w", row.Name, row.Revision, err)
		}
		g.keepSequence(row, parsed)
	}
	return nil
}

func (g *Register) keepSequence(row store.Sequence, parsed *sequence.Sequence) {
	key := strings.ToLower(row.Name)
	e := g.sequences[key]
	if e == nil {
		e = &sequenceEntry{name: row.Name}
		g.sequences[key] = e
	}
	e.revisions = append(e.revisions, revision{row, parsed})
}

// Sequences are all of them, by name.
func (g *Register) Sequences() []SequenceInfo {
	g.mu.RLock()
	defer g.mu.RUnlock()
	list := make([]SequenceInfo, 0, len(g.sequences))
	for _, e := range g.sequences {
		list = append(list, g.sequenceInfo(e, &e.revisions[len(e.revisions)-1]))
	}
	slices.SortFunc(list, func(a, b SequenceInfo) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

func (g *Register) sequenceInfo(e *sequenceEntry, r *revision) SequenceInfo {
	info := SequenceInfo{
		Name: e.name, Revision: r.row.Revision, Description: r.parsed.Description, Steps: len(r.parsed.Leaves()), Changed: r.row.Time, By: r.row.By,
	}
	for _, d := range g.deployments {
		if strings.EqualFold(d.Sequence, e.name) {
			info.Deployments = append(info.Deployments, d.Name)
		}
	}
	slices.Sort(info.Deployments)
	return info
}

// Sequence finds a revision of a sequence, the newest with revision 0.
func (g *Register) Sequence(name string, number int) (SequenceText, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	e, err := find(g.sequences, name, func(e *sequenceEntry) string { return strings.ToLower(e.name) }, func(e *sequenceEntry) string { return e.name })
	if err != nil {
		return SequenceText{}, fmt.Errorf("sequence: %w", err)
	}
	r := e.revision(number)
	if r == nil {
		return SequenceText{}, fmt.Errorf("sequence %s: revision %d: %w", e.name, number, ErrNotFound)
	}
	t := SequenceText{SequenceInfo: g.sequenceInfo(e, r), Text: r.row.Text, Leaves: leavesOf(r.parsed)}
	for _, other := range e.revisions {
		t.Revisions = append(t.Revisions, other.row.Revision)
	}
	_, t.Problems = sequence.Check([]byte(t.Text))
	return t, nil
}

// revision is one of the revisions, the newest for 0; nil when it is not there.
func (e *sequenceEntry) revision(number int) *revision {
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

// PutSequence takes a sequence by its YAML: a new one, or a new revision of the one
// that has its name. Runs that have begun go on with the revision that they have.
func (g *Register) PutSequence(ctx context.Context, text, by string) (SequenceText, error) {
	parsed, err := sequence.Parse([]byte(text))
	if err != nil {
		return SequenceText{}, err
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	row := store.Sequence{Name: parsed.Name, Revision: 1, Text: text, By: by, Time: g.now().UTC()}
	g.mu.RLock()
	old := g.sequences[strings.ToLower(parsed.Name)]
	same := false
	if old != nil {
		newest := old.revision(0).row
		row.Name, row.Revision, same = old.name, newest.Revision+1, newest.Text == text
	}
	g.mu.RUnlock()
	if same {
		return g.Sequence(row.Name, 0)
	}
	if err := g.cfg.Store.AddSequence(ctx, row); err != nil {
		return SequenceText{}, fmt.Errorf("sequence %s: %w", row.Name, err)
	}
	g.mu.Lock()
	g.keepSequence(row, parsed)
	e := g.sequences[strings.ToLower(row.Name)]
	gone := g.spareRevisions(e)
	g.mu.Unlock()
	for _, number := range gone {
		if err := g.cfg.Store.DeleteSequence(ctx, row.Name, number); err != nil {
			return SequenceText{}, fmt.Errorf("sequence %s: %w", row.Name, err)
		}
	}
	return g.Sequence(row.Name, 0)
}

// spareRevisions takes the oldest revisions away that no run is in the middle of.
// mu is held.
func (g *Register) spareRevisions(e *sequenceEntry) (gone []int) {
	used := make(map[int]bool)
	for _, r := range g.runs {
		if strings.EqualFold(r.run.Sequence, e.name) && r.run.State != StateSucceeded {
			used[r.run.Revision] = true
		}
	}
	spare := len(e.revisions) - keepRevisions
	e.revisions = slices.DeleteFunc(slices.Clone(e.revisions), func(r revision) bool {
		if spare <= 0 || used[r.row.Revision] {
			return false
		}
		spare--
		gone = append(gone, r.row.Revision)
		return true
	})
	return gone
}

// RemoveSequence deletes a sequence. ErrInUse: a deployment or a run has it.
func (g *Register) RemoveSequence(ctx context.Context, name string) error {
	t, err := g.Sequence(name, 0)
	if err != nil {
		return err
	}
	g.edit.Lock()
	defer g.edit.Unlock()
	g.mu.RLock()
	uses := slices.Clone(t.Deployments)
	for _, r := range g.runs {
		if strings.EqualFold(r.run.Sequence, t.Name) && !r.run.State.Ended() {
			uses = append(uses, "the run on "+r.run.Label)
		}
	}
	g.mu.RUnlock()
	if len(uses) > 0 {
		return fmt.Errorf("sequence %s %w: %s", t.Name, ErrInUse, uses[0])
	}
	if err := g.cfg.Store.DeleteSequence(ctx, t.Name, 0); err != nil {
		return fmt.Errorf("remove sequence %s: %w", t.Name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sequences, strings.ToLower(t.Name))
	return nil
}
