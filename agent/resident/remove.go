package resident

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"castpoint/agent/machine"
)

// Removal says how the agent is taken out of the system that runs.
type Removal struct {
	Kind     string
	Settings string // path of the settings, in the agent's folder
	Programs machine.Programs
	// Restarts says that the system is about to restart, or to be switched off.
	Restarts bool
}

// Remove takes the agent out: what is secret first, then what starts it, then its
// folder. The program may still run: Windows removes it when it has ended.
func Remove(ctx context.Context, r Removal) error {
	folder := filepath.Dir(r.Settings)
	errs := []error{os.Remove(r.Settings), os.RemoveAll(filepath.Join(folder, workName))}
	if errors.Is(errs[0], os.ErrNotExist) {
		errs[0] = nil
	}
	// Beside anything else than the agent's own folder nothing is touched.
	if filepath.Base(folder) != Name {
		return errors.Join(errs...)
	}
	if r.Kind == Linux {
		root := filepath.Clean(filepath.Join(folder, "../../../.."))
		errs = append(errs, removeUnit(ctx, r.Programs, root), os.RemoveAll(folder))
	} else {
		result, err := r.Programs.Run(ctx, machine.Program{Args: []string{"sc", "delete", Name}})
		if err == nil && result.Code != 0 {
			err = &machine.ExitError{Program: "sc delete", Code: result.Code, Tail: result.Tail}
		}
		errs = append(errs, err, removeLater(folder, r.Restarts))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take the agent out of the system: %w", err)
	}
	return nil
}
