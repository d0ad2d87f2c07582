package boot

// Record is what is on record about one machine, as far as its boot goes. The
// zero Record is a machine that boots by the general settings.
type Record struct {
	Name string // what people call it; "" when it has no name

	// Silent is why it is not answered; "" when it may be.
	Silent string
	// Waiting: it has to be approved first. Until then it gets iPXE at most, and
	// a script that says so on its screen and asks again.
	Waiting bool
	// Denied: what is told to the machine when it is running already, besides
	// being Silent.
	Denied bool

	Loader    string // first stage, instead of that of the firmware table
	BootImage string // as in bootfile.Config
}

// RecordFunc looks a machine up. It runs several times for each packet and must
// be fast and safe for concurrent use.
type RecordFunc = func(Client) Record

// ImageOr is the boot image on record, else general.
func (r *Record) ImageOr(general string) string {
	if r.BootImage != "" {
		return r.BootImage
	}
	return general
}

// RecordOf is the record, for a look-up that may be missing.
func RecordOf(look RecordFunc, c Client) Record {
	if look == nil {
		return Record{}
	}
	return look(c)
}
