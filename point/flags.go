package point

import (
	"github.com/spf13/pflag"

	"castpoint/internal/config"
)

// Flags makes a flag of every setting but the data folder, which is a flag
// of all commands.
func Flags(f *pflag.FlagSet, c *config.Config) {
	f.SortFlags = false
	list := func(v *config.List, name, usage string) { f.StringSliceVar((*[]string)(v), name, *v, usage) }
	// Values with commas of their own.
	whole := func(v *config.List, name, usage string) { f.StringArrayVar((*[]string)(v), name, *v, usage) }

	list(&c.Interface, "interface", "`NAME` of an interface to serve; may be repeated (default: that of the default route)")

	f.StringVar(&c.DHCP, "dhcp", c.DHCP, "proxy: beside another DHCP server; server: give addresses; off")
	list(&c.Pool, "pool", "`FROM-TO`: addresses to give with --dhcp server; /BITS behind it for a network behind a relay; may be repeated")
	list(&c.Router, "router", "`ADDRESS` of a router to hand out with the pool; may be repeated")
	list(&c.DNS, "dns", "`ADDRESS` of a name server to hand out with the pool; may be repeated")
	list(&c.NTP, "ntp", "`ADDRESS` of a time server to hand out with the pool; may be repeated")
	f.StringVar(&c.Domain, "domain", c.Domain, "`NAME` of the domain to hand out with the pool")
	f.DurationVar(&c.Lease, "lease", c.Lease, "how long an address is given for (default 1h)")
	list(&c.Reserve, "reserve", "`MACHINE=ADDRESS[=HOSTNAME]`: keep an address for a MAC, a UUID or id:HEX; may be repeated")
	f.BoolVar(&c.MatchClientID, "match-client-id", c.MatchClientID, "tell machines apart by client identifier before MAC, as RFC 2131 has it")
	f.BoolVar(&c.Probe, "probe", c.Probe, "ask whether an address is in use before it is offered")
	list(&c.Allow, "allow", "`MACHINE`: a UUID, a MAC or the beginning of one; answer only these; may be repeated")
	list(&c.Deny, "deny", "`MACHINE` never to answer; may be repeated")
	f.DurationVar(&c.Delay, "delay", c.Delay, "wait so long before a DISCOVER is answered, so that another server comes first; up to 30s")
	f.BoolVar(&c.Share, "share", c.Share, "leave UDP port 67 to a DHCP server on this host, with --dhcp proxy")
	whole(&c.Quirks, "quirk", "`ROW` in front of the firmware table, as in 'mac=00:11:22 arch=7 style=redirect'; may be repeated")
	f.StringVar(&c.Menu, "menu", c.Menu, "`PROMPT` of a boot menu that PXE firmware shows; the disk is its first item (default: no menu)")
	f.DurationVar(&c.MenuWait, "menu-wait", c.MenuWait, "countdown of that menu before the disk is booted")
	f.BoolVar(&c.DHCP6, "dhcp6", c.DHCP6, "answer netboot clients by DHCPv6 too")
	list(&c.Pool6, "pool6", "`FROM-TO`: IPv6 addresses to give with --dhcp server; may be repeated")
	list(&c.DNS6, "dns6", "`ADDRESS` of an IPv6 name server to hand out with pool6; may be repeated")

	f.StringVar(&c.DevicesUnknown, "devices-unknown", c.DevicesUnknown, "what machines get that are not on record: serve, ignore, or approve: they wait for castpoint device approve")
	list(&c.DevicesSharedMACs, "devices-shared-macs", "`MAC`, or the beginning of MACs, of docks and USB cards: it identifies no machine; may be repeated")
	list(&c.DevicesSharedUUIDs, "devices-shared-uuids", "`UUID` that many machines have; may be repeated")
	f.DurationVar(&c.EventsKeep, "events-keep", c.EventsKeep, "how long the timelines of machines are kept (default 2160h, 90 days)")
	f.IntVar(&c.EventsMax, "events-max", c.EventsMax, "`N` events that are kept at most (default 1000000)")

	list(&c.NotifyWebhook, "notify-webhook", "`URL` that gets a POST when something needs people, as when a deployment fails too often; may be repeated")
	list(&c.NotifyMail, "notify-mail", "`ADDRESS` that gets mail then; may be repeated")
	f.StringVar(&c.NotifyMailFrom, "notify-mail-from", c.NotifyMailFrom, "`ADDRESS` that sends that mail")
	f.StringVar(&c.NotifyMailServer, "notify-mail-server", c.NotifyMailServer, "`HOST:PORT` of the mail server")
	f.StringVar(&c.NotifyMailUser, "notify-mail-user", c.NotifyMailUser, "`NAME` to log in with there (default: no login)")
	f.StringVar(&c.NotifyPasswordFile, "notify-password-file", c.NotifyPasswordFile, "`FILE` with that user's password")

	f.BoolVar(&c.TFTP, "tftp", c.TFTP, "serve TFTP")
	f.IntVar(&c.TFTPBlockSize, "tftp-block-size", c.TFTPBlockSize, "largest block that is granted, in `BYTES` (default: what fits the path MTU)")
	f.BoolVar(&c.TFTPFragment, "tftp-fragment", c.TFTPFragment, "grant blocks above the path MTU, as IP fragments")
	f.IntVar(&c.TFTPWindow, "tftp-window", c.TFTPWindow, "largest window that is granted, in `BLOCKS` (default 64)")
	f.StringVar(&c.TFTPPorts, "tftp-ports", c.TFTPPorts, "`FROM-TO`: UDP ports of transfers (default: the kernel chooses)")
	f.BoolVar(&c.TFTPSinglePort, "tftp-single-port", c.TFTPSinglePort, "send everything from port 69, for firewalls and NAT")
	f.IntVar(&c.TFTPTransfers, "tftp-transfers", c.TFTPTransfers, "`N` transfers at once, -1 for no limit (default 1024)")
	f.IntVar(&c.TFTPClientTransfers, "tftp-client-transfers", c.TFTPClientTransfers, "`N` transfers of one address at once, -1 for no limit (default 32)")
	f.DurationVar(&c.TFTPIdle, "tftp-idle", c.TFTPIdle, "end a transfer that has stood still for so long (default 30s)")
	f.Var(&c.TFTPRate, "tftp-rate", "`RATE` of all transfers together (default: no limit)")
	f.Var(&c.TFTPClientRate, "tftp-client-rate", "`RATE` of one address (default: no limit)")
	f.StringVar(&c.TFTPUpload, "tftp-upload", c.TFTPUpload, "`FOLDER` that takes uploads of machines, logs above all (default: uploads are refused)")
	f.Int64Var(&c.TFTPUploadSize, "tftp-upload-size", c.TFTPUploadSize, "largest upload, in `BYTES` (default 64 MiB)")

	f.StringVar(&c.HTTP, "http", c.HTTP, "`ADDRESS` of the boot HTTP listener")
	f.IntVar(&c.HTTPConns, "http-conns", c.HTTPConns, "`N` connections at once, -1 for no limit (default 4096)")
	f.IntVar(&c.HTTPClientConns, "http-client-conns", c.HTTPClientConns, "`N` connections of one address at once, -1 for no limit (default 128)")
	f.DurationVar(&c.HTTPHeader, "http-header", c.HTTPHeader, "how long a client may take to ask (default 15s)")
	f.DurationVar(&c.HTTPIdle, "http-idle", c.HTTPIdle, "how long a connection stays open between two requests (default 3m)")
	f.DurationVar(&c.HTTPStall, "http-stall", c.HTTPStall, "how long a client may take for the next MiB of an answer (default 30s)")
	f.StringVar(&c.HTTPS, "https", c.HTTPS, "`ADDRESS` of a boot HTTPS listener beside it, as in :8444 (default: none)")
	f.StringVar(&c.HTTPSCert, "https-cert", c.HTTPSCert, "`FILE` of its certificate, PEM (default: one of castpoint's own CA)")
	f.StringVar(&c.HTTPSKey, "https-key", c.HTTPSKey, "`FILE` of the certificate's key, PEM")
	list(&c.HTTPSName, "https-name", "`NAME` for the certificate of castpoint's own CA, beside the addresses; may be repeated")

	f.StringVar(&c.Join, "join", c.Join, "`ADDRESS` of the join HTTPS listener")
	f.StringVar(&c.Admin, "admin", c.Admin, "`ADDRESS` of the admin listener; wider than loopback it has TLS")
	list(&c.AdminName, "admin-name", "`NAME` by which the admin listener is reached, beside addresses and localhost; may be repeated")
	f.StringVar(&c.AdminCert, "admin-cert", c.AdminCert, "`FILE` of the admin listener's certificate, PEM (default: one of castpoint's own CA, when it is wider than loopback)")
	f.StringVar(&c.AdminKey, "admin-key", c.AdminKey, "`FILE` of the certificate's key, PEM")
	f.StringVar(&c.OIDCIssuer, "oidc-issuer", c.OIDCIssuer, "`URL` of an OpenID Connect provider for logins at the console (default: none)")
	f.StringVar(&c.OIDCClient, "oidc-client", c.OIDCClient, "`ID` of castpoint at the provider")
	f.StringVar(&c.OIDCSecretFile, "oidc-secret-file", c.OIDCSecretFile, "`FILE` with the secret of castpoint at the provider")
	f.StringVar(&c.OIDCURL, "oidc-url", c.OIDCURL, "`URL` by which browsers reach the admin listener; the provider sends them to URL/login/callback")
	f.StringVar(&c.OIDCClaim, "oidc-claim", c.OIDCClaim, "`CLAIM` that has the groups of a person (default groups)")
	whole(&c.OIDCScope, "oidc-scope", "`SCOPE=GROUP`: read, operate or admin for the people of a group, * for everybody; may be repeated")
	list(&c.Loaders, "loaders", "`FOLDER` of boot loaders; may be repeated, the first that has a file wins")
	f.StringVar(&c.BootImage, "boot-image", c.BootImage, "`ID` of the boot image (default: the newest that fits the machine)")
	whole(&c.KernelArgs, "kernel-args", "`ARGS` added to the kernel command line; may be repeated")
	list(&c.Chain, "chain", "`[WHICH=]CHAIN` from the firmware to the boot image: windows (Microsoft's signed boot manager), ipxe, ipxe-shim (iPXE's own signed shim), grub (shim and GRUB, for Linux with Secure Boot), local (no network boot: on to the disk) or auto; WHICH is a MAC, a UUID, or one of bios, ia32, x64, arm64, x64-http and so on; may be repeated (default: windows where the boot image has the files, else ipxe, else grub)")
	whole(&c.Machine, "machine", "`ROW` of boot settings for some machines, as in '52:54:00:12:34:56 chain=windows ask=yes window=4' (docs/booting.md); may be repeated")
	f.StringVar(&c.Idle, "idle", c.Idle, "what a machine does for which there is nothing to boot: ask again, or go on to its disk")
	f.IntVar(&c.ChainCA, "chain-ca", c.ChainCA, "`YEAR` of the CA that signed the boot manager, 2011 or 2023 (default: 2011 when the boot image has it)")
	list(&c.WinPEFiles, "winpe-files", "`FOLDER` of boot files that boot images lack, as on Windows installation media; may be repeated")
	f.BoolVar(&c.WinPEPrompt, "winpe-prompt", c.WinPEPrompt, "leave a command prompt when the agent in Windows PE fails")
	f.StringVar(&c.BCD, "bcd", c.BCD, "`FILE` of a boot configuration that is served as it is (default: one is made for each machine)")
	f.IntVar(&c.RamdiskBlockSize, "ramdisk-block-size", c.RamdiskBlockSize, "TFTP block for boot.sdi and boot.wim, in `BYTES` (default 1456)")
	f.IntVar(&c.RamdiskWindow, "ramdisk-window", c.RamdiskWindow, "TFTP window for boot.sdi and boot.wim, in `BLOCKS` (default 16)")
	f.BoolVar(&c.RamdiskVariableWindow, "ramdisk-variable-window", c.RamdiskVariableWindow, "let the boot manager change that window as it goes")
	f.DurationVar(&c.ValidateEvery, "validate-every", c.ValidateEvery, "validate contents again after so long, when the host has nothing else to do; 0 is never")
	f.Var(&c.DiskReserve, "disk-reserve", "`SIZE` that additions leave free on the disk of the library, as in 20GiB; 0 is none")
	f.StringVar(&c.Assign, "assign", c.Assign, "`ID` of the content that every machine that netboots receives (default: none)")
	f.StringVar(&c.Target, "target", c.Target, "`PATH` it is written to on the machine, a file, or a disk that is overwritten (default: a file in memory)")
	f.StringVar(&c.After, "after", c.After, "what the machine does then: poweroff, reboot, shell or wait")

	f.Var(&c.Rate, "rate", "`RATE` that a session does not exceed, as in 900mbit (default: no cap)")
	f.Var(&c.TotalRate, "total-rate", "`RATE` that all sessions together do not exceed, shared evenly (default: no cap)")
	f.Var(&c.MinRate, "min-rate", "`RATE` that a session does not go below: machines that cannot take it go on by unicast (default: none)")
	f.StringVar(&c.Sharing, "sharing", c.Sharing, "`MANNER` of sessions: polite leaves other traffic on this server's link at least a third of it, greedy does not")
	f.StringVar(&c.SessionCipher, "session-cipher", c.SessionCipher, "what seals sessions: aes, chacha, or auto, which takes chacha when a machine without AES instructions waits for the start")
	f.IntVar(&c.MinMembers, "min-members", c.MinMembers, "start a session when `N` members have joined (default: with the first)")
	f.DurationVar(&c.MaxWait, "max-wait", c.MaxWait, "or so long after the first member")
	f.IntVar(&c.MaxMembers, "max-members", c.MaxMembers, "give a session at most `N` members; more get one of their own (default: any number)")
	f.StringVar(&c.Groups, "groups", c.Groups, "`FROM-TO`: multicast addresses of sessions (default 239.192.67.1-239.192.67.254)")
	f.StringVar(&c.SessionPorts, "session-ports", c.SessionPorts, "`FROM-TO`: UDP ports of sessions (default 7800-7899)")
	f.IntVar(&c.TTL, "ttl", c.TTL, "`HOPS` that sessions travel (default 1: the local network)")
	f.DurationVar(&c.Linger, "linger", c.Linger, "how long a session without members stays (default 10s)")

	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	list(&c.LogLevels, "log-levels", "`LOGGER=LEVEL` for some loggers, as in dhcp=debug (castpoint log level lists them); may be repeated")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "console or json")
}
