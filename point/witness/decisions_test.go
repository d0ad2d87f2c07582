package witness

import (
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp"
)

func TestDecisions(t *testing.T) {
	var d Decisions
	one := boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 1}, PXE: true}
	other := boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 2}, PXE: true}
	for i := range keepDecisions + 10 {
		d.note(dhcp.Event{Client: other, Time: time.Unix(int64(i), 0)})
	}
	d.note(dhcp.Event{Client: boot.Client{MAC: one.MAC}, Asked: "not a netboot client"})
	d.note(dhcp.Event{Client: one, Asked: "DISCOVER"})
	d.note(dhcp.Event{Client: one, Asked: "REQUEST"})
	got := d.Of(one.MAC.String(), "", 8)
	if len(got) != 2 || got[0].Asked != "DISCOVER" || got[1].Asked != "REQUEST" || len(d.ring) != keepDecisions {
		t.Errorf("%+v of %d", got, len(d.ring))
	}
	if got := d.Of("", "", 8); got != nil {
		t.Error(got)
	}
	last := d.Of(other.MAC.String(), "", 1)
	if len(last) != 1 || last[0].Time.Unix() != keepDecisions+9 {
		t.Errorf("%+v", last)
	}
}
