package collection

import (
	"maps"
	"slices"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/secret"
	"castpoint/deploy/sequence"
)

// Variables are what a sequence has before it begins on a device: its own, then those
// of the device's collections (by name, the one with the id last at the end), then
// those of the device. Later ones win. Of secrets only those are there that the
// sequence declares.
func (s *Collections) Variables(seq *sequence.Sequence, device *deploy.Device, last string) (map[string]protocol.VariableValue, error) {
	all := make(map[string]protocol.VariableValue)
	for name, v := range seq.Variables {
		if v.Value != "" {
			all[name] = protocol.VariableValue{Value: v.Value, Secret: v.Secret}
		}
	}
	add := func(vars map[string]string, o secret.Owner) error {
		AddVariables(seq, all, vars, false)
		secrets, err := s.cfg.Secrets.Values(o)
		if err != nil {
			return err
		}
		// A machine gets the secrets of its own sequence, and no others.
		maps.DeleteFunc(secrets, func(name, _ string) bool {
			_, declared := seq.Variables[name]
			return !declared
		})
		AddVariables(seq, all, secrets, true)
		return nil
	}
	for _, c := range s.Of(device, last) {
		if err := add(c.Variables, secret.OfCollection(c.ID)); err != nil {
			return nil, err
		}
	}
	return all, add(device.Variables, secret.OfDevice(device.ID))
}

// AddVariables adds variables in place of those with their names. What was secret
// stays so.
func AddVariables(seq *sequence.Sequence, all map[string]protocol.VariableValue, vars map[string]string, hidden bool) {
	for name, value := range vars {
		all[name] = protocol.VariableValue{Value: value, Secret: hidden || seq.Variables[name].Secret || all[name].Secret}
	}
}

// Missing are the variables that a sequence needs and that have a value neither in it
// nor in a collection, and those that have one. Devices may have values of their own.
func (s *Collections) Missing(seq *sequence.Sequence, id string) (names []string, vars map[string]string) {
	vars = make(map[string]string)
	for name, v := range seq.Variables {
		vars[name] = v.Value
	}
	if c := s.ByID(id); c != nil {
		maps.Copy(vars, c.Variables)
	}
	secrets := s.cfg.Secrets.Names(secret.OfCollection(id))
	for name, v := range seq.Variables {
		if v.Required && vars[name] == "" && !slices.Contains(secrets, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, vars
}
