package sequence

import (
	"reflect"
	"strings"
	"unicode"
)

// Facts are what is known of a machine: what conditions can ask, and what the
// inventory of a device holds. Fields that could not be found out are empty.
type Facts struct {
	Manufacturer string `json:"manufacturer,omitempty" expr:"manufacturer"`
	Model        string `json:"model,omitempty" expr:"model"` // SMBIOS product name
	Version      string `json:"version,omitempty" expr:"version"`
	Family       string `json:"family,omitempty" expr:"family"`
	SKU          string `json:"sku,omitempty" expr:"sku"`
	Serial       string `json:"serial,omitempty" expr:"serial"`
	AssetTag     string `json:"asset_tag,omitempty" expr:"asset_tag"`
	UUID         string `json:"uuid,omitempty" expr:"uuid"` // lower case
	Board        string `json:"board,omitempty" expr:"board"`
	Chassis      string `json:"chassis,omitempty" expr:"chassis"` // desktop, notebook, server, other
	Virtual      bool   `json:"virtual,omitempty" expr:"virtual"`
	Battery      bool   `json:"battery,omitempty" expr:"battery"`
	OnBattery    bool   `json:"on_battery,omitempty" expr:"on_battery"`

	Firmware        string `json:"firmware,omitempty" expr:"firmware"` // uefi, bios
	FirmwareVendor  string `json:"firmware_vendor,omitempty" expr:"firmware_vendor"`
	FirmwareVersion string `json:"firmware_version,omitempty" expr:"firmware_version"`
	FirmwareDate    string `json:"firmware_date,omitempty" expr:"firmware_date"`
	SecureBoot      bool   `json:"secure_boot,omitempty" expr:"secure_boot"`
	TPM             string `json:"tpm,omitempty" expr:"tpm"` // version: 2.0; "" for none

	Architecture string `json:"architecture,omitempty" expr:"architecture"` // amd64, arm64, x86
	CPU          string `json:"cpu,omitempty" expr:"cpu"`
	Cores        int    `json:"cores,omitempty" expr:"cores"`
	Threads      int    `json:"threads,omitempty" expr:"threads"`
	MHz          int    `json:"mhz,omitempty" expr:"mhz"`
	Memory       int    `json:"memory,omitempty" expr:"memory"` // MiB

	Disks []DiskFacts `json:"disks,omitempty" expr:"disks"` // fixed ones, in the order of their numbers
	NICs  []NICFacts  `json:"nics,omitempty" expr:"nics"`
}

// DiskFacts are what is known of one fixed disk.
type DiskFacts struct {
	Number    int    `json:"number" expr:"number"`
	Path      string `json:"path,omitempty" expr:"path"` // /dev/nvme0n1, \\.\PhysicalDrive0
	Model     string `json:"model,omitempty" expr:"model"`
	Serial    string `json:"serial,omitempty" expr:"serial"`
	Bus       string `json:"bus,omitempty" expr:"bus"`   // nvme, sata, scsi, virtio, usb
	Size      int    `json:"size,omitempty" expr:"size"` // bytes
	Rotates   bool   `json:"rotates,omitempty" expr:"rotates"`
	Removable bool   `json:"removable,omitempty" expr:"removable"`
}

// NICFacts are what is known of one network card.
type NICFacts struct {
	Name      string   `json:"name,omitempty" expr:"name"`
	Model     string   `json:"model,omitempty" expr:"model"`
	MAC       string   `json:"mac,omitempty" expr:"mac"`
	Driver    string   `json:"driver,omitempty" expr:"driver"`
	Speed     int      `json:"speed,omitempty" expr:"speed"` // Mbit/s
	Link      bool     `json:"link,omitempty" expr:"link"`
	Wireless  bool     `json:"wireless,omitempty" expr:"wireless"`
	Addresses []string `json:"addresses,omitempty" expr:"addresses"`
}

// Bounds of what a machine says of itself.
const (
	maxFact  = 256 // bytes of a text
	maxParts = 64  // disks, cards, addresses of a card
)

// Clean bounds what a machine says of itself, and takes out what no terminal shows.
func (f *Facts) Clean() {
	f.Disks, f.NICs = f.Disks[:min(len(f.Disks), maxParts)], f.NICs[:min(len(f.NICs), maxParts)]
	cleanTexts(reflect.ValueOf(f).Elem())
}

func cleanTexts(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			cleanTexts(v.Field(i))
		}
	case reflect.Slice:
		if v.Len() > maxParts {
			v.Set(v.Slice(0, maxParts))
		}
		for i := range v.Len() {
			cleanTexts(v.Index(i))
		}
	case reflect.String:
		s := strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, strings.ToValidUTF8(v.String(), ""))
		if s = strings.TrimSpace(s); len(s) > maxFact {
			s = strings.ToValidUTF8(s[:maxFact], "")
		}
		v.SetString(s)
	}
}
