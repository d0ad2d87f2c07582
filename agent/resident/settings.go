package resident

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Settings are what the agent has to know to go on with a run.
type Settings struct {
	Server string `json:"server"` // URL of the join listener
	Pin    string `json:"pin"`    // of its certificate
	Ticket string `json:"ticket"` // of the run
	MAC    string `json:"mac"`    // of the card that the machine netbooted by
	Run    string `json:"run"`
}

// Names in the agent's folder.
const (
	settingsName = "run.json"
	workName     = "work"
)

// SettingsBeside is the path of the settings of the agent whose program is at a path.
func SettingsBeside(program string) string { return filepath.Join(filepath.Dir(program), settingsName) }

// WorkBeside is the folder for the agent's log and scripts.
func WorkBeside(settings string) string { return filepath.Join(filepath.Dir(settings), workName) }

// ReadSettings reads the settings of a run.
func ReadSettings(path string) (s Settings, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read the settings of the run: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read the settings of the run, %s: %w", path, err)
	}
	for name, value := range map[string]string{"server": s.Server, "pin": s.Pin, "ticket": s.Ticket} {
		if value == "" {
			return s, fmt.Errorf("the settings of the run, %s, have no %s", path, name)
		}
	}
	return s, nil
}
