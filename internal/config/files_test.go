package config

import (
	"reflect"
	"testing"
)

func TestNamedFiles(t *testing.T) {
	c := Default()
	if list := c.NamedFiles(); len(list) != 0 {
		t.Errorf("without settings: %v", list)
	}
	c.NotifyKeyFile, c.HTTPSCert, c.HTTPSKey, c.AdminCert, c.AdminKey, c.OIDCSecretFile = "/etc/k", "/c", "/k", "/ac", "/ak", "/o"
	want := []NamedFile{{"notify-key-file", "/etc/k"}, {"https-cert", "/c"}, {"https-key", "/k"}, {"admin-cert", "/ac"}, {"admin-key", "/ak"}, {"oidc-secret-file", "/o"}}
	if list := c.NamedFiles(); !reflect.DeepEqual(list, want) {
		t.Errorf("%v", list)
	}
}
