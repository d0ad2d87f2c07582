package config

import (
	"fmt"
	"regexp"
	"time"
)

// macEntry is a MAC or a beginning of one by whole bytes.
var macEntry = regexp.MustCompile(`(?i)^[0-9a-f]{2}([:-][0-9a-f]{2}){0,5}$`)

// checkDevices checks what concerns records of devices and events.
func (c *Config) checkDevices() error {
	for _, entry := range c.DevicesSharedMACs {
		if !macEntry.MatchString(entry) {
			return fmt.Errorf("devices-shared-macs %q: want a MAC or the beginning of one, as in 00:e0:4c", entry)
		}
	}
	for _, entry := range c.DevicesSharedUUIDs {
		if !uuidText.MatchString(entry) {
			return fmt.Errorf("devices-shared-uuids %q: want a UUID", entry)
		}
	}
	return within(
		duration("events-keep", c.EventsKeep, time.Hour, 10*365*24*time.Hour),
		number("events-max", c.EventsMax, 1000, 1_000_000_000),
	)
}
