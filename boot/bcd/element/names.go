package element

import "fmt"

// Application is the number of a boot application, as it stands in the type of an
// object; 0 is any.
type Application uint32

// Applications with elements of their own.
const (
	appFirmwareBootManager Application = 1
	appBootManager         Application = 2
	appLoader              Application = 3
	appResume              Application = 4
	appMemoryTester        Application = 5
	appLegacyLoader        Application = 6
	appStartup             Application = 9
)

// Name is what bcdedit calls an element in an object of an application, or "" for
// one without a known name. Sources: Microsoft's list of BCD settings for
// BitLocker; for those it lacks, the output of bcdedit.
func Name(app Application, id ID) string {
	switch id.class() {
	case classLibrary:
		return libraryName(id)
	case classDevice:
		return deviceOptionName(id)
	case classTemplate:
		return templateName(id)
	case classApplication:
		switch app {
		case appFirmwareBootManager, appBootManager:
			return bootManagerName(id)
		case appLoader:
			return loaderName(id)
		case appResume:
			return resumeName(id)
		case appMemoryTester:
			return memoryTesterName(id)
		case appLegacyLoader:
			if id == 0x22000001 {
				return "bpbstring"
			}
		case appStartup:
			switch id {
			case 0x26000001:
				return "pxesoftreboot"
			case 0x22000002:
				return "applicationname"
			}
		}
	}
	return ""
}

// Word is the word that bcdedit prints for a number, or "".
func Word(app Application, id ID, v uint64) string {
	pick := func(words ...string) string {
		if v < uint64(len(words)) {
			return words[v]
		}
		return ""
	}
	switch Name(app, id) {
	case "debugtype":
		return pick("Serial", "1394", "USB", "NET", "Local")
	case "hypervisordebugtype":
		return pick("Serial", "1394", "None", "NET")
	case "kerneldebugtype":
		return pick("Serial", "1394", "USB", "NET")
	case "debugstart":
		return pick("Active", "AutoEnable", "Disable")
	case "nx":
		return pick("OptIn", "OptOut", "AlwaysOff", "AlwaysOn")
	case "pae":
		return pick("Default", "ForceEnable", "ForceDisable")
	case "bootmenupolicy":
		return pick("Legacy", "Standard")
	case "bootux":
		return pick("Disabled", "Basic", "Standard")
	case "safeboot":
		return pick("Minimal", "Network", "DsRepair")
	case "hypervisorlaunchtype", "vsmlaunchtype":
		return pick("Off", "Auto")
	case "tscsyncpolicy":
		return pick("Default", "Legacy", "Enhanced")
	case "x2apicpolicy":
		return pick("Default", "Disable", "Enable")
	case "graphicsresolution":
		return pick("1024x768", "800x600", "1024x600")
	case "configaccesspolicy":
		return pick("Default", "DisallowMmConfig")
	case "firstmegabytepolicy":
		return pick("UseNone", "UseAll", "UsePrivate")
	case "driverloadfailurepolicy":
		return pick("Fatal", "UseErrorControl")
	case "tpmbootentropy":
		return pick("Default", "ForceDisable", "ForceEnable")
	case "hypervisoriommupolicy":
		return pick("Default", "Enable", "Disable")
	case "bootstatuspolicy":
		return pick("DisplayAllFailures", "IgnoreAllFailures", "IgnoreShutdownFailures",
			"IgnoreBootFailures", "IgnoreCheckpointFailures", "DisplayShutdownFailures",
			"DisplayBootFailures", "DisplayCheckpointFailures", "AlwaysDisplayStartupFailures")
	case "displaymessage", "displaymessageoverride":
		return pick("Default", "Resume", "HyperV", "Recovery", "StartupRepair",
			"SystemImageRecovery", "CommandPrompt", "SystemRestore", "PushButtonReset")
	case "hostip", "hypervisorhostip", "kernelhostip":
		if v <= 0xffffffff {
			return fmt.Sprintf("%d.%d.%d.%d", byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
	}
	return ""
}
