package settings

import (
	"castpoint/deploy"
	"castpoint/internal/config"
)

// Devices is what the settings say about devices.
func Devices(cfg *config.Config) deploy.Config {
	return deploy.Config{Unknown: deploy.Policy(cfg.DevicesUnknown), SharedMACs: cfg.DevicesSharedMACs, SharedUUIDs: cfg.DevicesSharedUUIDs}
}

// LibraryReserve is the reserve as the library takes it, where 0 is the default.
func LibraryReserve(c *config.Config) int64 {
	if c.DiskReserve == 0 {
		return -1
	}
	return int64(c.DiskReserve)
}
