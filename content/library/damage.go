package library

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.uber.org/zap"

	"castpoint/content"
)

// CheckBlock reads one block of an object and compares it with the manifest. What is
// wrong with it is noted in all contents that have the object. Errors: ErrDamaged,
// ErrNotFound for an object that no content has, ErrInvalid for a block that it does
// not have.
func (l *Library) CheckBlock(d content.Digest, block int) error {
	m, err := l.Manifest(d)
	if err != nil {
		return err
	}
	if block < 0 || block >= m.Blocks() {
		return fmt.Errorf("%w block %d of object %s, which has %d", content.ErrInvalid, block, d, m.Blocks())
	}
	offset, length, _ := m.Block(block)
	o, err := l.OpenObject(d)
	if errors.Is(err, content.ErrNotFound) {
		return l.NoteDamage(d, "it is missing")
	}
	if err != nil {
		return err
	}
	defer o.Close()
	data := make([]byte, length)
	if _, err := o.ReadAt(data, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return l.NoteDamage(d, fmt.Sprintf("it ends before byte %d", offset+int64(length)))
		}
		return l.NoteDamage(d, fmt.Sprintf("it cannot be read at byte %d: %v", offset, err))
	}
	if !m.VerifyBlock(block, data) {
		return l.NoteDamage(d, fmt.Sprintf("the block at byte %d is damaged", offset))
	}
	return nil
}

// NoteDamage notes in all contents that have an object what is wrong with it, and
// returns that as an ErrDamaged. Errors: also ErrNotFound when none has it.
func (l *Library) NoteDamage(d content.Digest, what string) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	var damage error
	for _, c := range l.having(d) {
		if err := c.Damage(); err != nil {
			damage = err // a validation knows more
			continue
		}
		next := c.Clone()
		i := slices.IndexFunc(next.Files, func(f content.File) bool { return f.Digest == d })
		next.Checked = &content.Checked{Time: time.Now().UTC().Truncate(time.Second), Problem: fmt.Sprintf("file %s: %s", next.Files[i].Name, what)}
		damage = next.Damage()
		l.log.Error("content is damaged", zap.String("content", c.ID), zap.String("file", next.Files[i].Name), zap.String("reason", next.Checked.Problem))
		if err := l.commit(next); err != nil {
			// What was found out is right all the same.
			l.log.Error("damage cannot be noted", zap.String("content", c.ID), zap.Error(err))
		}
	}
	if damage == nil {
		return fmt.Errorf("object %s of any content: %w", d, content.ErrNotFound)
	}
	return damage
}

// having are the contents that have an object.
func (l *Library) having(d content.Digest) (list []*content.Content) {
	l.index.RLock()
	defer l.index.RUnlock()
	for _, c := range l.contents {
		if slices.ContainsFunc(c.Files, func(f content.File) bool { return f.Digest == d }) {
			list = append(list, c)
		}
	}
	return list
}

// mended takes back what was wrong with contents that have objects which have just
// been written anew: the next validation says whether more is wrong.
func (l *Library) mended(ds ...content.Digest) {
	l.disk.Lock()
	defer l.disk.Unlock()
	for _, d := range ds {
		for _, c := range l.having(d) {
			if c.Damage() == nil {
				continue
			}
			next := c.Clone()
			next.Checked = nil
			if err := l.commit(next); err != nil {
				l.log.Error("the end of a damage cannot be noted", zap.String("content", c.ID), zap.Error(err))
			}
		}
	}
}
