package secret

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"castpoint/deploy/named"
)

// Recovery is what opens an encrypted volume of a device when its TPM does not.
type Recovery struct {
	Time     time.Time `json:"time"`     // when the machine reported it
	Run      string    `json:"run"`      // id of the run that encrypted the volume
	Step     string    `json:"step"`     // its name
	Password string    `json:"password"` // 48 digits, in groups of six
}

// scopeRecovery is the scope of recovery passwords: a device has several, of volumes
// and of times, and none of them is a variable.
const scopeRecovery = "recovery"

// maxRecoveries is how many recovery passwords of a device are kept; the oldest go.
const maxRecoveries = 100

func ofRecovery(device string) Owner { return Owner{scopeRecovery, device} }

// KeepRecovery keeps a recovery password. One that is kept already stays as it is: a
// machine says it again until it was heard.
func (v *Vault) KeepRecovery(ctx context.Context, device string, r Recovery) error {
	o := ofRecovery(device)
	known, err := v.recoveries(o)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Run == r.Run && k.Password == r.Password {
			return nil
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep a recovery password: %w", err)
	}
	if err := v.Set(ctx, o, "K"+named.NewID(), string(text)); err != nil {
		return err
	}
	for len(known) >= maxRecoveries {
		if err := v.Set(ctx, o, known[0].name, ""); err != nil {
			return err
		}
		known = known[1:]
	}
	return nil
}

// Recoveries are the recovery passwords of a device, the newest first.
func (v *Vault) Recoveries(device string) ([]Recovery, error) {
	known, err := v.recoveries(ofRecovery(device))
	list := make([]Recovery, 0, len(known))
	for _, k := range slices.Backward(known) {
		list = append(list, k.Recovery)
	}
	return list, err
}

type keptRecovery struct {
	Recovery
	name string
}

func (v *Vault) recoveries(o Owner) ([]keptRecovery, error) {
	values, err := v.Values(o)
	if err != nil {
		return nil, err
	}
	var list []keptRecovery
	for name, text := range values {
		k := keptRecovery{name: name}
		if err := json.Unmarshal([]byte(text), &k.Recovery); err != nil {
			return nil, fmt.Errorf("recovery password %s: %w", name, err)
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b keptRecovery) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.name, b.name)) })
	return list, nil
}

// DropDevice deletes everything of a device that is no more.
func (v *Vault) DropDevice(ctx context.Context, device string) error {
	if err := v.Drop(ctx, OfDevice(device)); err != nil {
		return err
	}
	return v.Drop(ctx, ofRecovery(device))
}
