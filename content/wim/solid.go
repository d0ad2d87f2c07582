package wim

import (
	"fmt"

	"castpoint/content/wim/format"
	"castpoint/content/wim/resource"
)

// solidPlace says where a blob lies in a solid resource.
type solidPlace struct {
	resource int32 // in Reader.solids; -1 for a blob that is a resource itself
	offset   int64
}

// readSolids finds the solid resources of a part and where the blobs in them
// lie. from and to are the part's entries in the table.
func (r *Reader) readSolids(p *part, from, to int32) error {
	for at := from; at < to; {
		if r.Entry(at).Flags()&format.ResourceSolid == 0 {
			at++
			continue
		}
		end, first := at, len(r.solids)
		for ; end < to && r.Entry(end).Flags()&format.ResourceSolid != 0; end++ {
			e := r.Entry(end)
			res, err := e.Resource()
			if err != nil {
				return format.Corrupt("%s: entry %d: %v", format.TableBlobs, end, err)
			}
			if res.OriginalSize != format.SolidMark || e.Part() != p.header.Part {
				continue
			}
			s, err := resource.NewSolid(p.r, res, fmt.Sprintf("solid resource %d", len(r.solids)+1))
			if err != nil {
				return err
			}
			r.solids = append(r.solids, s)
			r.solidParts = append(r.solidParts, p.header.Part)
		}
		for ; at < end; at++ {
			if err := r.placeSolid(at, first, p.header.Part); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeSolid finds the resource of a run, which are those from first on, that
// an entry lies in.
func (r *Reader) placeSolid(at int32, first int, part uint16) error {
	if r.places == nil {
		r.places = make([]solidPlace, len(r.table)/format.BlobEntrySize)
		for i := range r.places {
			r.places[i].resource = -1
		}
	}
	e := r.Entry(at)
	res, err := e.Resource()
	if err != nil || res.OriginalSize == format.SolidMark || e.Part() != part || res.Flags&format.ResourceFree != 0 {
		return err
	}
	offset := res.Offset
	for i := first; i < len(r.solids); i++ {
		if size := r.solids[i].Size(); offset < size || offset == size && res.Size == 0 {
			if res.Size > size-offset {
				break
			}
			r.places[at] = solidPlace{int32(i), offset}
			return nil
		}
		offset -= r.solids[i].Size()
	}
	return format.Corrupt("%s: entry %d: %d bytes at %d do not lie in the solid resources before it", format.TableBlobs, at, res.Size, res.Offset)
}
