package rollout

import (
	"fmt"
	"slices"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/sequence"
)

// variablesOf are the variables of a run: those of the sequence, then those of the
// device's collections (by name, the deployment's last), of the device, and those
// that steps of the run have set. Later ones win.
func (g *Register) variablesOf(seq *sequence.Sequence, d *Deployment, device *deploy.Device, run *Run) (map[string]protocol.VariableValue, error) {
	all := make(map[string]protocol.VariableValue)
	secret := func(name string) bool { return seq.Variables[name].Secret || all[name].Secret }
	set := func(vars map[string]string, hidden bool) {
		for name, value := range vars {
			all[name] = protocol.VariableValue{Value: value, Secret: hidden || secret(name)}
		}
	}
	for name, v := range seq.Variables {
		if v.Value != "" {
			all[name] = protocol.VariableValue{Value: v.Value, Secret: v.Secret}
		}
	}
	for _, c := range g.collectionsOf(device, d.Collection) {
		set(c.Variables, false)
		secrets, err := g.opened(owner{scopeCollection, c.ID})
		if err != nil {
			return nil, err
		}
		g.onlyDeclared(seq, secrets)
		set(secrets, true)
	}
	set(device.Variables, false)
	secrets, err := g.opened(owner{scopeDevice, device.ID})
	if err != nil {
		return nil, err
	}
	g.onlyDeclared(seq, secrets)
	set(secrets, true)
	if run != nil {
		set(run.Variables, false)
		for name, sealed := range run.secrets {
			value, err := g.sealer.open("run "+run.ID+" "+name, sealed)
			if err != nil {
				return nil, err
			}
			set(map[string]string{name: value}, true)
		}
	}
	return all, nil
}

// onlyDeclared takes secrets away that the sequence does not declare: a machine gets
// those of its own sequence, and no others.
func (g *Register) onlyDeclared(seq *sequence.Sequence, secrets map[string]string) {
	for name := range secrets {
		if _, ok := seq.Variables[name]; !ok {
			delete(secrets, name)
		}
	}
}

// collectionsOf are the collections that a device is in, by name, with the one of
// its deployment last.
func (g *Register) collectionsOf(device *deploy.Device, last string) []*Collection {
	g.mu.RLock()
	var list []*Collection
	for _, c := range g.collections {
		if v, _ := c.holdsDevice(device); v == yes || c.ID == last {
			list = append(list, c)
		}
	}
	g.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Collection) int {
		if (a.ID == last) != (b.ID == last) {
			return map[bool]int{true: 1, false: -1}[a.ID == last]
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list
}

// checkRequired says which variables the sequence needs and has not, and which
// values it does not take.
func checkRequired(seq *sequence.Sequence, vars map[string]protocol.VariableValue) error {
	var missing []string
	for name, v := range seq.Variables {
		value, ok := vars[name]
		switch {
		case v.Required && value.Value == "":
			missing = append(missing, name)
		case ok && value.Value != "":
			if err := v.Accept(name, value.Value); err != nil {
				return fmt.Errorf("%w: sequence %s: %w", ErrRefused, seq.Name, err)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("%w: sequence %s needs values for %s: set them for the collection or the device (castpoint device set ID --variable NAME=VALUE, --secret NAME)",
		ErrRefused, seq.Name, strings.Join(missing, ", "))
}
