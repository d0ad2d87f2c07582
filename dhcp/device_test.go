package dhcp

import (
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
)

// TestDeviceTerms: what a machine has of its own goes before table and setting, as
// far as it is usable.
func TestDeviceTerms(t *testing.T) {
	var own DeviceTerms
	s, err := New(Config{Planner: fixedPlan{}, Delay: time.Second, Device: func(boot.Client) DeviceTerms { return own }})
	if err != nil {
		t.Fatal(err)
	}
	none, far := time.Duration(0), time.Hour
	for _, c := range []struct {
		own   DeviceTerms
		style dhcp4.Style
		name  string
		delay time.Duration
	}{
		{DeviceTerms{}, dhcp4.StyleComplete, "uefi", time.Second},
		{DeviceTerms{Name: "pc-17", Style: dhcp4.StyleRedirect}, dhcp4.StyleRedirect, "device pc-17", time.Second},
		{DeviceTerms{Style: "loud"}, dhcp4.StyleComplete, "uefi", time.Second},
		{DeviceTerms{Delay: &none}, dhcp4.StyleComplete, "uefi", 0},
		{DeviceTerms{Delay: &far}, dhcp4.StyleComplete, "uefi", maxDelay},
	} {
		own = c.own
		q, delay := s.device(boot.Client{}, dhcp4.Quirk{Name: "uefi", Style: dhcp4.StyleComplete})
		if q.Style != c.style || q.Name != c.name || delay != c.delay {
			t.Errorf("%+v: %+v, %s", c.own, q, delay)
		}
	}
}
