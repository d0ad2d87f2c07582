package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/agent/machine"
)

// Where things are in a Linux. The agent's folder is not below /var or /opt, which
// some systems mount so that nothing in them can be run.
const (
	linuxParent = "usr/local/lib"
	unitFolder  = "etc/systemd/system"
	unitName    = Name + ".service"
	wantsFolder = unitFolder + "/multi-user.target.wants"
)

// unit is the starter. The agent waits for its server by itself, so a network that is
// never "online" for systemd does not keep it from starting for ever; what it prints
// is for the journal and for who stands before the machine.
const unit = `[Unit]
Description=castpoint: the task sequence of this machine goes on
ConditionPathExists=/` + linuxParent + `/` + Name + `/` + settingsName + `
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=/` + linuxParent + `/` + Name + `/castagent continue
Restart=on-failure
RestartSec=30s
KillMode=mixed
StandardInput=null
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`

// writeUnit writes the unit into the system below a folder, and enables it.
func writeUnit(root string) error {
	if err := within(root, wantsFolder); err != nil {
		return err
	}
	wants := filepath.Join(root, wantsFolder)
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(root, unitFolder, unitName), []byte(unit), 0o644); err != nil {
		return err
	}
	link := filepath.Join(wants, unitName)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink("/"+unitFolder+"/"+unitName, link)
}

// removeUnit takes the unit out of the Linux that runs. systemd forgets it when it is
// told to; the agent, which runs by it, goes on to its end.
func removeUnit(ctx context.Context, programs machine.Programs, root string) error {
	var errs []error
	for _, path := range []string{filepath.Join(wantsFolder, unitName), filepath.Join(unitFolder, unitName)} {
		if err := os.Remove(filepath.Join(root, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the agent's unit: %w", err)
	}
	// Without systemd, as in a container, there is nobody to be told.
	_, _ = programs.Run(ctx, machine.Program{Args: []string{"systemctl", "daemon-reload"}})
	return nil
}
