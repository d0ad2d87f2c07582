package object

import (
	"fmt"
	"sync"

	"castpoint/content"
)

// space knows how much of the free disk is already promised to unfinished additions,
// so that two of them do not count the same bytes.
type space struct {
	mu       sync.Mutex
	promised int64 // bytes
}

// claim is the part of the free disk promised to one addition. It shrinks as blocks
// are taken from the file system, which then counts them itself.
type claim struct {
	space *space
	left  int64
}

// claim promises need bytes. Errors: ErrNoSpace with the numbers.
func (s *Store) claim(need int64) (*claim, error) {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	free, err := s.faults.free(s.dir)
	if err != nil {
		return nil, err
	}
	if free-s.space.promised-s.reserve < need {
		msg := fmt.Sprintf("%s needed, %s free in %s", sizeText(need), sizeText(free), s.dir)
		if s.space.promised > 0 {
			msg += ", " + sizeText(s.space.promised) + " promised to other additions"
		}
		if s.reserve > 0 {
			msg += ", " + sizeText(s.reserve) + " kept in reserve (setting disk-reserve)"
		}
		if idle := s.idleCopies(); idle > 0 {
			msg += "; " + sizeText(idle) + " are copies of interrupted additions, which castpoint content gc deletes"
		}
		return nil, fmt.Errorf("%w: %s", content.ErrNoSpace, msg)
	}
	s.space.promised += need
	return &claim{space: &s.space, left: need}, nil
}

// release gives back up to n bytes of the promise.
func (c *claim) release(n int64) {
	if c == nil {
		return
	}
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	n = min(n, c.left)
	c.left -= n
	c.space.promised -= n
}

// end gives back the rest.
func (c *claim) end() {
	if c != nil {
		c.release(c.left)
	}
}

// sizeText writes a size for a person: "13.4 GiB".
func sizeText(n int64) string {
	const units = "KMGTP"
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/(1<<10), 0
	for f >= 1<<10 && i < len(units)-1 {
		f, i = f/(1<<10), i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// HasRoom says whether n bytes may be written to the file system of the store,
// now and beside what is promised to additions. Errors: ErrNoSpace.
func (s *Store) HasRoom(n int64) error {
	c, err := s.claim(n)
	c.end()
	return err
}

// lastPart of the reserve is what nothing but the database may use: a quarter.
const lastPart = 4

// HasRoomInReserve says whether n bytes may be written that the reserve is for, the logs
// of machines among them: the last quarter of it stays. Errors: ErrNoSpace.
func (s *Store) HasRoomInReserve(n int64) error {
	free, err := s.faults.free(s.dir)
	if err == nil && free-s.reserve/lastPart < n {
		err = fmt.Errorf("%w: %s needed, %s free in %s, of which %s are kept for the database", content.ErrNoSpace, sizeText(n), sizeText(free), s.dir, sizeText(s.reserve/lastPart))
	}
	return err
}
