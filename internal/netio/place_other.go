//go:build !linux

package netio

func placeSocket(int, Place) {}

// SetPlace does nothing here.
func (s *Socket) SetPlace(Place) {}
