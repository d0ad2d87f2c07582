package boot

import "strings"

// sharedUUIDs are SMBIOS UUIDs that makers of mainboards left in many machines:
// they name a product, or nothing. Each with where it was reported.
var sharedUUIDs = map[string]string{
	"00000000-0000-0000-0000-000000000000": "SMBIOS 3.7 section 7.2.1: not present in the system",
	"ffffffff-ffff-ffff-ffff-ffffffffffff": "SMBIOS 3.7 section 7.2.1: not set, may be",
	"fefefefe-fefe-fefe-fefe-fefefefefefe": "erased flash",
	"03000200-0400-0500-0006-000700080009": "AMI's sample value, in consumer boards of all makers: GLPI, src/Blacklist.php",
	"00020003-0004-0005-0006-000700080009": "the same with its first fields in the other byte order",
	"6ab5b300-538d-1014-9fb5-b0684d007b53": "GLPI, src/Blacklist.php",
	"01010101-0101-0101-0101-010101010101": "GLPI, src/Blacklist.php",
	"00010203-0405-0607-0809-0a0b0c0d0e0f": "sample value, counts upwards",
	"03020100-0504-0706-0809-0a0b0c0d0e0f": "the same with its first fields in the other byte order",
	"12345678-1234-5678-90ab-cddeefaabbcc": "sample value",
	"12345678-1234-1234-1234-123456789012": "sample value",
	"10000000-0000-0000-0000-000000000000": "sample value",
	"deadbeef-dead-beef-dead-beefdeadbeef": "sample value",
}

// SharedUUID tells SMBIOS UUIDs that many machines have. s is in canonical form,
// in any letter case.
func SharedUUID(s string) bool {
	_, ok := sharedUUIDs[strings.ToLower(s)]
	return ok
}
