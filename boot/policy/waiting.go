package policy

import (
	"castpoint/boot"
)

// General is the planner that knows of no records: what a machine gets of which
// Nothing is known but its firmware.
func (p *Planner) General() boot.Planner {
	general := *p
	general.record = nil
	return &general
}

// planWaiting is the plan for firmware of a machine that waits for approval: iPXE or
// GRUB, which show that on its screen. Microsoft's boot manager could not (and a
// machine with Secure Boot on that is to have that one starts no iPXE), so such a
// machine hears nothing before it is approved, and goes on to its next boot device.
func (p *Planner) planWaiting(c boot.Client, arch boot.Arch, fw boot.Firmware) boot.Plan {
	name := boot.DeviceName(c)
	settings := p.settings.For(c)
	var plan boot.Plan
	switch settings.Chain {
	case boot.ChainAuto, boot.ChainIPXE:
		plan = p.firstStage(c, arch, fw, fw.Loaders, "")
	case boot.ChainIPXEShim:
		plan = p.firstStage(c, arch, fw, shimLoaders(fw.Machine), "")
	case boot.ChainGRUB:
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
