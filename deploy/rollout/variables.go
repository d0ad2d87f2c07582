package rollout

import (
	"fmt"
	"slices"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/collection"
	"castpoint/deploy/sequence"
)

// variablesOf are the variables of a run: those that its device has, and then those
// that steps of the run have set.
func (g *Register) variablesOf(seq *sequence.Sequence, d *Deployment, device *deploy.Device, run *Run) (map[string]protocol.VariableValue, error) {
	all, err := g.Collections.Variables(seq, device, d.Collection)
	if err != nil || run == nil {
		return all, err
	}
	collection.AddVariables(seq, all, run.Variables, false)
	for name, sealed := range run.Secrets {
		value, err := g.Secrets.Unseal("run "+run.ID+" "+name, sealed)
		if err != nil {
			return nil, err
		}
		collection.AddVariables(seq, all, map[string]string{name: value}, true)
	}
	return all, nil
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
	var how []string
	for _, name := range missing {
		if seq.Variables[name].Secret {
			how = append(how, "castpoint collection secret ID "+name)
		} else {
			how = append(how, "castpoint collection set ID --variable "+name+"=VALUE")
		}
	}
	return fmt.Errorf("%w: sequence %s needs values for %s: set them for the collection or, with castpoint device, for the device: %s",
		ErrRefused, seq.Name, strings.Join(missing, ", "), strings.Join(how, "; "))
}
