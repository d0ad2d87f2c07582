package answer

import (
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/deploy/rollout"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/point/witness"
)

// Rules are what boot and dhcp ask about machines on record.
type Rules struct {
	Devices *deploy.Devices
	Rollout *rollout.Register
	See     bool           // note who asks
	Whois   *witness.Whois // learns whose records machines have; nil for questions
	Anybody bool           // every machine may boot, and none is on record
}

// plan is asked once for each packet.
func (r Rules) plan(c boot.Client) boot.Record {
	if r.See {
		r.Devices.See(c)
	}
	return r.record(c)
}

func (r Rules) record(c boot.Client) boot.Record { return r.apply(c).Record }

func (r Rules) change(c boot.Client) boot.Change { return r.apply(c).Change }

// apply is what the record of a client and its deployments say.
func (r Rules) apply(c boot.Client) deploy.Ruling {
	ruling := r.rule(c)
	if !r.Anybody {
		ruling, _ = r.Rollout.Apply(ruling, c)
	}
	return ruling
}

// rule is what the record of a client says; the log learns who it is.
func (r Rules) rule(c boot.Client) deploy.Ruling {
	if r.Anybody {
		return deploy.Ruling{}
	}
	ruling := r.Devices.Rule(c)
	if r.Whois != nil {
		id := ""
		if ruling.Device != nil {
			id = ruling.Device.ID
		}
		r.Whois.Know(c, id)
	}
	return ruling
}

// Terms are what the DHCP server asks about a client.
func (r Rules) Terms(c boot.Client) dhcp.DeviceTerms {
	ruling := r.rule(c)
	t := dhcp.DeviceTerms{Style: dhcp4.Style(ruling.Style), Delay: ruling.Delay}
	if ruling.Device != nil {
		t.Name = ruling.Device.Label()
	}
	return t
}
