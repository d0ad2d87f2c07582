package boot

import "go.uber.org/zap"

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
	BootImage string // as FilesConfig.BootImage
}

// RecordFunc looks a machine up. It runs several times for each packet and must
// be fast and safe for concurrent use.
type RecordFunc = func(Client) Record

// bootImage is the boot image on record, else general.
func (r *Record) bootImage(general string) string {
	if r.BootImage != "" {
		return r.BootImage
	}
	return general
}

// recordOf is the record, for a look-up that may be missing.
func recordOf(look RecordFunc, c Client) Record {
	if look == nil {
		return Record{}
	}
	return look(c)
}

// General is the planner that knows of no records: what a machine gets of which
// nothing is known but its firmware.
func (p *Policy) General() Planner {
	general := *p
	general.record = nil
	return &general
}

// planWaiting is the plan for firmware of a machine that waits for approval: iPXE or
// GRUB, which show that on its screen. Microsoft's boot manager could not (and a
// machine with Secure Boot on that is to have that one starts no iPXE), so such a
// machine hears nothing before it is approved, and goes on to its next boot device.
func (p *Policy) planWaiting(c Client, arch Arch, fw Firmware) Plan {
	name := DeviceName(c)
	settings := p.settings.For(c)
	var plan Plan
	switch settings.Chain {
	case ChainAuto, ChainIPXE:
		plan = p.firstStage(c, arch, fw, fw.Loaders, "")
	case ChainIPXEShim:
		plan = p.firstStage(c, arch, fw, shimLoaders(fw.Machine), "")
	case ChainGRUB:
		settings.Ask = false
		var why string
		if plan, why = p.grubPlan(c, arch, fw, settings); why != "" {
			plan = silent("%s", why)
		}
	default:
		return silent("device %s waits for approval, and the chain that is set for it, %s, cannot show that: it is answered once it is approved (castpoint device approve %s).", name, settings.Chain, name)
	}
	waits := "Device " + name + " waits for approval (castpoint device approve " + name + ")"
	if !plan.Serve {
		plan.Reason = waits + ", and cannot be told so: " + plan.Reason
		return plan
	}
	plan.Reason = waits + ". " + plan.Reason
	return plan
}

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
func (r *Record) held(c Client) *nothing {
	name := DeviceName(c)
	switch {
	case r.Waiting:
		return &nothing{Why: "This machine waits for approval.", Next: "On the server: castpoint device approve " + name}
	case r.Denied:
		return &nothing{Why: "This machine was denied.", Next: "The operator of the server can undo that: castpoint device approve " + name}
	case r.Silent != "":
		return &nothing{Why: r.Silent}
	}
	return nil
}

// recordScript is the script of a machine whose record does not let it boot; nil
// for all others.
func (f *Files) recordScript(c Client, ab about, record Record) []byte {
	switch {
	case record.Waiting:
		ab.Wait = approvalPoll
		f.log.Debug("machine waits for approval", zap.Inline(c))
		return render("waiting.ipxe", waitingData{about: ab, Name: screenText(record.Name), Approve: DeviceName(c)})
	case record.Denied:
		ab.Wait = deniedWait
		f.log.Info("machine is denied", zap.Inline(c), zap.String("reason", record.Silent))
		// With 1 all firmware goes on to the next boot device; see Idle.ExitCode.
		held := record.held(c)
		return render("nothing.ipxe", nothingData{about: ab, Why: screenLines(held.Why), Next: screenLines(held.Next), Exit: true, ExitCode: 1})
	case record.Silent != "":
		return f.nothingScript(c, ab, record.held(c))
	}
	return nil
}
