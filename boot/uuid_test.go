package boot

import (
	"strings"
	"testing"
)

func TestSharedUUID(t *testing.T) {
	for uuid := range sharedUUIDs {
		if !SharedUUID(strings.ToUpper(uuid)) || ValidUUID(uuid) || !uuidText.MatchString(uuid) {
			t.Errorf("%s", uuid)
		}
	}
	if SharedUUID("4c4c4544-0042-3510-8052-b3c04f4b4e32") {
		t.Error("a Dell's UUID counts as shared")
	}
}
