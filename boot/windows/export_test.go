package windows

// MaxIdleImages is how many boot images are kept open while no machine boots.
const MaxIdleImages = maxIdleImages

// Images counts the boot images that are remembered, and the files of them that
// are being served.
func (w *Chain) Images() (images, uses int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.images {
		uses += i.uses
	}
	return len(w.images), uses
}
