package settings

import (
	"fmt"
	"os"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/internal/config"
)

// Boot makes the settings of machines out of those of the file.
func Boot(cfg *config.Config) (boot.ResolverConfig, error) {
	r := boot.ResolverConfig{Base: boot.Settings{
		CA: cfg.ChainCA, Prompt: cfg.WinPEPrompt,
		Store: bcd.Options{BlockSize: cfg.RamdiskBlockSize, WindowSize: cfg.RamdiskWindow, VariableWindow: &cfg.RamdiskVariableWindow},
	}}
	if cfg.BCD != "" {
		var err error
		if r.Base.BCD, err = os.ReadFile(cfg.BCD); err != nil {
			return r, fmt.Errorf("bcd: %w", err)
		}
	}
	rules, err := cfg.BootRules()
	if err != nil {
		return r, err
	}
	for _, from := range rules {
		rule := boot.Rule{MAC: from.MAC, UUID: from.UUID}
		for _, arch := range config.ChainArchs()[from.Arch] {
			rule.Archs = append(rule.Archs, boot.Arch(arch))
		}
		if rule.Set, err = boot.ParseChange(from.Set); err != nil {
			return r, command.Usage("machine: %w", err)
		}
		r.Rules = append(r.Rules, rule)
	}
	return r, nil
}
