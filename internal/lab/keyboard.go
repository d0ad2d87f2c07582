package lab

import (
	"fmt"
	"strings"
)

// Press presses keys of the machine's keyboard, one after the other, by QEMU's
// names for them, as in "f8" or "ret"; keys that are held together are joined by a
// hyphen, as in "shift-a".
func (vm *VM) Press(keys ...string) error {
	for _, key := range keys {
		var held []map[string]string
		for _, name := range strings.Split(key, "-") {
			held = append(held, map[string]string{"type": "qcode", "data": name})
		}
		if err := vm.control(map[string]any{"execute": "send-key", "arguments": map[string]any{"keys": held}}); err != nil {
			if strings.Contains(err.Error(), "does not accept value") {
				return fmt.Errorf("there is no key %q: want a letter or digit, f1 to f12, ret, esc, tab, spc, up, down, left, right, or keys joined by a hyphen", key)
			}
			return fmt.Errorf("press %s on %s: %w", key, vm.Name, err)
		}
	}
	return nil
}

// Type types a text on a keyboard with American letters: letters, digits, and
// what commands are made of.
func (vm *VM) Type(text string) error {
	names := map[rune]string{
		' ': "spc", '\n': "ret", '/': "slash", '.': "dot", ',': "comma", '-': "minus", ';': "semicolon", '=': "equal",
		'>': "shift-dot", '<': "shift-comma", '_': "shift-minus", ':': "shift-semicolon", '"': "shift-apostrophe", '\'': "apostrophe",
		'|': "shift-backslash", '(': "shift-9", ')': "shift-0", '\\': "backslash", '$': "shift-4", '&': "shift-7",
	}
	var keys []string
	for _, r := range text {
		switch name, ok := names[r]; {
		case ok:
			keys = append(keys, name)
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			keys = append(keys, string(r))
		case r >= 'A' && r <= 'Z':
			keys = append(keys, "shift-"+strings.ToLower(string(r)))
		default:
			return fmt.Errorf("type on %s: no key for %q", vm.Name, r)
		}
	}
	return vm.Press(keys...)
}
