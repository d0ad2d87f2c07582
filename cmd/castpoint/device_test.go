package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent"
	"castpoint/deploy"
)

// TestDeviceCommands: records without a server, by the command line.
func TestDeviceCommands(t *testing.T) {
	data := t.TempDir()
	at := func(args ...string) []string { return append(append([]string{"device"}, args...), "--data", data) }
	succeeds(t, at("add", "--name", "pc-1", "--mac", "52:54:00:00:00:01", "--group", "lab", "--variable", "OWNER=ann", "--delay", "3")...)
	succeeds(t, at("set", "pc-1", "--boot", "chain=ipxe", "--add-mac", "525400000002", "--delay", "-1", "--variable", "OWNER=", "--variable", "ROOM=7")...)
	var d deploy.Device
	if err := json.Unmarshal([]byte(succeeds(t, at("show", "52-54-00-00-00-02", "--json")...)), &d); err != nil {
		t.Fatal(err)
	}
	if d.Name != "pc-1" || len(d.MACs) != 2 || d.Boot.Delay != nil || d.Boot.Settings[0] != "chain=ipxe" || d.Variables["OWNER"] != "" || d.Variables["ROOM"] != "7" {
		t.Errorf("%+v", d)
	}
	table := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(table, []byte("name,mac\npc-2,52:54:00:00:00:05\npc-1,52:54:00:00:00:01 52:54:00:00:00:02\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := succeeds(t, at("import", table)...); !strings.Contains(out, "1 devices added, 0 changed, 1 as they were") {
		t.Error(out)
	}
	if out := succeeds(t, at("export")...); strings.Count(out, "\n") != 3 || !strings.Contains(out, "var.ROOM") {
		t.Error(out)
	}
	if out := succeeds(t, at("deny", "pc-2")...); !strings.Contains(out, "is denied") {
		t.Error(out)
	}
	if out := succeeds(t, at("list", "--state", "denied")...); !strings.Contains(out, "pc-2") || strings.Contains(out, "pc-1") {
		t.Error(out)
	}
	if out := succeeds(t, at("timeline", "pc-2")...); !strings.Contains(out, "imported") || !strings.Contains(out, "denied") {
		t.Error(out)
	}
	file := settingsFile(t, "devices-unknown: approve\n")
	x := explained(t, agent.ExitPartly, "--config", file, "--data", data, "--mac", "52:54:00:00:00:05")
	if !strings.Contains(x.Reason, "pc-2 is denied") || len(x.Rules) < 3 {
		t.Errorf("%+v", x)
	}
	x = explained(t, 0, "--config", file, "--data", data, "--mac", "52:54:00:00:00:01")
	if x.Device != d.ID {
		t.Errorf("%+v", x)
	}
	x = explained(t, 0, "--config", file, "--data", data, "--mac", "52:54:00:00:00:77")
	if !strings.Contains(x.Reason, "waits for approval") || !strings.Contains(x.Script, "waiting for approval") {
		t.Errorf("%+v", x)
	}
	if out := succeeds(t, at("list", "--json")...); strings.Contains(out, "00:77") {
		t.Errorf("explain put a machine on record: %s", out)
	}
	succeeds(t, at("remove", "pc-2")...)
	for _, c := range []struct {
		want int
		args []string
	}{
		{agent.ExitNotFound, []string{"show", "pc-2"}},
		{agent.ExitUsage, []string{"add", "--name", "x"}},
		{agent.ExitUsage, []string{"add", "--mac", "nonsense"}},
		{agent.ExitRefused, []string{"add", "--mac", "52:54:00:00:00:01"}},
	} {
		if code, _, errs := castpoint(t, at(c.args...)...); code != c.want || strings.Count(errs, "\n") > 1 {
			t.Errorf("device %v: exit code %d, want %d: %s", c.args, code, c.want, errs)
		}
	}
	if code, _, errs := castpoint(t, at("import", filepath.Join(data, "none.csv"))...); code != agent.ExitNotFound || !strings.Contains(errs, "none.csv") {
		t.Errorf("%d %s", code, errs)
	}
}
