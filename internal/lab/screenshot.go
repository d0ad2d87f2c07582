package lab

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Screenshot writes the machine's screen to a PPM file. The machine must have
// been started with Display.
func (vm *VM) Screenshot(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dump := map[string]any{"execute": "screendump", "arguments": map[string]string{"filename": path}}
	if err := vm.control(dump); err != nil {
		return fmt.Errorf("take a screenshot of %s: %w", vm.Name, err)
	}
	return nil
}

// Reset restarts the machine without asking what runs on it, as its button does.
func (vm *VM) Reset() error {
	if err := vm.control(map[string]any{"execute": "system_reset"}); err != nil {
		return fmt.Errorf("reset %s: %w", vm.Name, err)
	}
	return nil
}

// control sends one command to QEMU's monitor (QMP: lines of JSON, a greeting
// first, then qmp_capabilities before anything else).
func (vm *VM) control(command map[string]any) error {
	conn, err := net.Dial("unix", vm.monitor)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	var greeting map[string]any
	if err := in.Decode(&greeting); err != nil {
		return err
	}
	for _, c := range []map[string]any{{"execute": "qmp_capabilities"}, command} {
		if err := out.Encode(c); err != nil {
			return err
		}
		for {
			var answer struct {
				Return any
				Error  *struct{ Desc string }
				Event  string
			}
			if err := in.Decode(&answer); err != nil {
				return err
			}
			if answer.Event != "" {
				continue
			}
			if answer.Error != nil {
				return fmt.Errorf("qemu: %s", answer.Error.Desc)
			}
			break
		}
	}
	return nil
}
