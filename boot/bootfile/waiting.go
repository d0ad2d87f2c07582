package bootfile

import (
	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/source"
)

// Times of machines that are not approved, in seconds: how often one asks whether
// it is, and how long one that is not is shown why before it goes on to its disk.
const (
	approvalPoll = 5
	deniedWait   = 10
)

type waitingData struct {
	about
	Name    string // "" when it has none
	Approve string // what the operator types
}

// held is why a machine's record does not let it boot, nil when it does.
func held(r boot.Record, c boot.Client) *source.Nothing {
	name := boot.DeviceName(c)
	switch {
	case r.Waiting:
		return &source.Nothing{Why: "This machine waits for approval.", Next: "On the server: castpoint device approve " + name}
	case r.Denied:
		return &source.Nothing{Why: "This machine was denied.", Next: "The operator of the server can undo that: castpoint device approve " + name}
	case r.Silent != "":
		return &source.Nothing{Why: r.Silent}
	}
	return nil
}

// recordScript is the script of a machine whose record does not let it boot; nil
// for all others.
func (f *Space) recordScript(c boot.Client, ab about, record boot.Record) []byte {
	switch {
	case record.Waiting:
		ab.Wait = approvalPoll
		f.log.Debug("machine waits for approval", zap.Inline(c))
		return render("waiting.ipxe", waitingData{about: ab, Name: screenText(record.Name), Approve: boot.DeviceName(c)})
	case record.Denied:
		ab.Wait = deniedWait
		f.log.Info("machine is denied", zap.Inline(c), zap.String("reason", record.Silent))
		// With 1 all firmware goes on to the next boot device; see Idle.ExitCode.
		because := held(record, c)
		return render("nothing.ipxe", nothingData{about: ab, Why: screenLines(because.Why), Next: screenLines(because.Next), Exit: true, ExitCode: 1})
	case record.Silent != "":
		return f.nothingScript(c, ab, held(record, c))
	}
	return nil
}
