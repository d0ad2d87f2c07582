package point

import (
	"path/filepath"
	"syscall"

	"castpoint/multicast/sender"
	"castpoint/web/metrics"
)

// metricsState is what Prometheus is told about this moment.
func (p *point) metricsState() metrics.State {
	d := p.dhcp.Stats()
	s := metrics.State{
		DHCP:       metrics.DHCP{Answered: d.Answered, Silent: d.Silent, Malformed: d.Malformed, Limited: d.Limited, Dropped: d.Dropped, Failed: d.Failed},
		Leases:     len(p.leases()),
		Contents:   make(map[string]int),
		Devices:    make(map[string]int),
		EventsLost: p.kept.timeline.Dropped(),
	}
	for state, n := range p.kept.devices.Count() {
		s.Devices[string(state)] = n
	}
	contents, err := p.library.List()
	if err == nil { // it fails when the server is stopping
		for _, ct := range contents {
			s.Contents[string(ct.Kind)]++
			s.Stored += ct.Size()
			if ct.Checked != nil && ct.Checked.Problem != "" {
				s.Damaged++
			}
		}
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(filepath.Join(p.cfg.Data, FolderLibrary), &disk) == nil {
		s.Free = int64(disk.Bavail) * disk.Bsize
	}
	for _, info := range p.server.Sessions() {
		one := metrics.Session{
			ID: info.ID, Content: info.Content, Interface: info.Interface, State: info.State, Rate: info.Rate, Target: info.Target,
			Sent: info.Sent, Repair: info.Repair, Members: make(map[string]int), Injectors: len(info.Injectors),
		}
		for _, m := range info.Members {
			one.Members[string(m.State)]++
			if m.State == sender.MemberReceiving {
				one.Loss = max(one.Loss, m.Loss)
			}
		}
		s.Sessions = append(s.Sessions, one)
	}
	s.Deployments = p.deploymentStates()
	return s
}

// deploymentStates counts the targets of deployments.
func (p *point) deploymentStates() (all []metrics.Deployment) {
	if p.kept.rollout == nil {
		return nil
	}
	for _, d := range p.kept.rollout.Deployments() {
		c, err := p.kept.monitor.Counts(&d)
		if err != nil {
			continue // it was removed just now
		}
		all = append(all, metrics.Deployment{Name: d.Name, Targets: map[string]int{
			"waiting": c.Waiting, "running": c.Running - c.Asking, "asking": c.Asking, "succeeded": c.Succeeded, "failed": c.Failed, "cancelled": c.Cancelled, "unknown": c.Unknown,
		}})
	}
	return all
}
