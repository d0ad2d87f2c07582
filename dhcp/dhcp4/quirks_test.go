package dhcp4

import (
	"testing"

	"castpoint/boot"
)

func TestQuirksHaveEvidence(t *testing.T) {
	names := map[string]bool{}
	for _, q := range Quirks() {
		if q.Evidence == "" || q.Name == "" || names[q.Name] || q.Style.Validate() != nil {
			t.Errorf("row %+v", q)
		}
		names[q.Name] = true
	}
	if q := QuirkOf(Quirks(), boot.Client{}); q.Style != StyleComplete || q.Name != "default" {
		t.Errorf("unknown firmware: %+v", q)
	}
}
