package machines

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy"
	"castpoint/point"
	"castpoint/point/explain"
	"castpoint/web/admin"
)

// ArchNames are the words that --arch takes beside numbers.
var ArchNames = []struct {
	name string
	Arch boot.Arch
	http bool
}{
	{"bios", boot.ArchBIOS, false},
	{"x64", boot.ArchEFIX64, false},
	{"x64-http", boot.ArchEFIX64HTTP, true},
	{"ia32", boot.ArchEFIIA32, false},
	{"arm64", boot.ArchEFIARM64, false},
	{"arm64-http", boot.ArchEFIARM64HTTP, true},
	{"arm32", boot.ArchEFIARM32, false},
	{"raspberry-pi", boot.ArchRaspberryPi, false},
}

// ParseArch reads a word or a number of option 93.
func ParseArch(s string) (arch boot.Arch, http bool, err error) {
	var words []string
	for _, n := range ArchNames {
		if strings.EqualFold(s, n.name) {
			return n.Arch, n.http, nil
		}
		words = append(words, n.name)
	}
	n, err := strconv.ParseUint(s, 0, 16)
	if err != nil {
		return 0, false, command.Usage("arch %q: want %s, or a number of DHCP option 93", s, strings.Join(words, ", "))
	}
	arch = boot.Arch(n)
	return arch, arch >= boot.ArchEFIIA32HTTP && arch <= boot.ArchBIOSHTTP, nil
}

// archWord is the word of --arch for how a record names firmware, "" for none.
func archWord(firmware string) string {
	firmware = strings.TrimSuffix(firmware, ", iPXE")
	for _, n := range ArchNames {
		if n.Arch.String() == firmware {
			return n.name
		}
	}
	return ""
}

// isServed says whether a running server has the interface.
func isServed(ctx context.Context, o *cli.Options, name string) bool {
	var s admin.Status
	if name == "" || o.Call(ctx, http.MethodGet, "/status", nil, &s) != nil || s.Network == nil {
		return false
	}
	return slices.ContainsFunc(s.Network.Interfaces, func(i string) bool { return strings.HasPrefix(i, name+" ") })
}

// asLast is the question of a device as it asked last.
func asLast(d *deploy.Device) (q explain.Question) {
	q = explain.Question{MAC: d.Seen.MAC, UUID: d.UUID, Interface: d.Seen.Interface}
	if q.MAC == "" && len(d.MACs) > 0 {
		q.MAC = d.MACs[0]
	}
	return q
}

// NewExplain is the command that says what a machine would get.
func NewExplain(o *cli.Options) *cobra.Command {
	var q explain.Question
	var path, arch string
	var script bool
	c := o.AddJSON(&cobra.Command{
		Use: "explain [DEVICE]", Short: "Say what a machine would get when it netboots, and why",
		Long: `Explain goes the way of a request through the lists, the firmware table, the boot plan
and the boot script, without sending a packet, and prints what came out and by
which rule. With a server running it is that server's answer, and what it has
answered to this machine lately; otherwise the settings of the file are asked.

DEVICE is one on record: it asks as it did last, with the same card and firmware. A
machine that is not on record is named by --mac or --uuid. Flags say what is otherwise.

Exit codes: 0 the machine is served, 3 it is not, and the reason is printed.`,
		Example: `  castpoint explain pc-17
  castpoint explain --mac 52:54:00:12:34:56
  castpoint explain --mac 52:54:00:12:34:56 --arch bios --script
  castpoint explain --mac 52:54:00:12:34:56 --arch x64-http --json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: o.CompleteFirst(cli.DeviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				var d deploy.Device
				if err := o.Call(cmd.Context(), http.MethodGet, DevicePath(args[0]), nil, &d); err != nil {
					return err
				}
				asked := asLast(&d)
				if q.MAC == "" {
					q.MAC = asked.MAC
				}
				if q.UUID == "" {
					q.UUID = asked.UUID
				}
				// One that is no longer served is not asked on.
				if known := asked.Interface; q.Interface == "" && isServed(cmd.Context(), o, known) {
					q.Interface = known
				}
				if known := archWord(d.Seen.Firmware); known != "" && !cmd.Flags().Changed("arch") {
					arch = known
				}
			}
			if q.MAC == "" && q.UUID == "" {
				return command.Usage("say which machine: a DEVICE on record, --mac MAC, or --uuid UUID")
			}
			if mac, err := net.ParseMAC(q.MAC); q.MAC != "" && (err != nil || len(mac) != 6) {
				return command.Usage("mac %q: want one as in 52:54:00:12:34:56", q.MAC)
			}
			a, http_, err := ParseArch(arch)
			if err != nil {
				return err
			}
			q.Arch, q.HTTP = uint16(a), http_
			var x explain.Explanation
			if err := o.CallWith(cmd.Context(), point.LocalExplain(path, o.Data), http.MethodPost, "/explain", q, &x); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				err = terminal.JSON(out, x)
			} else {
				err = printExplanation(out, &x, script)
			}
			if err == nil && !x.Answered {
				err = cli.PartlyDone(fmt.Errorf("%s is not served: %s", x.Client, x.Reason))
			}
			return err
		},
	})
	f := c.Flags()
	f.StringVar(&q.MAC, "mac", "", "`MAC` of the card that boots")
	f.StringVar(&q.UUID, "uuid", "", "SMBIOS `UUID` of the machine")
	f.StringVar(&arch, "arch", "x64", "`ARCH` of its firmware: bios, x64, x64-http, ia32, arm64, arm64-http, arm32, raspberry-pi, or a number of DHCP option 93")
	f.BoolVar(&q.Known, "known", false, "as for a machine that may boot, whatever lists and records say of this one")
	f.StringVar(&q.Interface, "interface", "", "`NAME` of the interface that it asks on (default: the first)")
	f.BoolVar(&q.IPXE, "ipxe", false, "it is iPXE that asks, not the firmware")
	f.BoolVar(&script, "script", false, "print the boot script too")
	cli.ConfigFlag(c, &path)
	return c
}

func printExplanation(out io.Writer, x *explain.Explanation, script bool) error {
	rows := [][]string{{"machine", x.Client}, {"asks on", fmt.Sprintf("%s (%s), dhcp %s", x.Interface, x.Server, x.DHCP)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	answer := "nothing"
	switch {
	case x.Chain == string(boot.ChainLocal) && x.File == "":
		answer = "its own disk, by a menu that has nothing else"
	case x.Answered:
		answer = x.File
	}
	add("gets", answer)
	add("because", x.Reason)
	if x.Answered {
		if x.Quirk != "" {
			quirk := x.Quirk
			if x.Style != "" {
				quirk += ", style " + x.Style
			}
			add("firmware row", quirk)
		}
		if x.Menu {
			add("menu", "its firmware shows one, and boots from disk unless the network is chosen")
		}
		add("from", x.Next)
		add("BCD", x.BCD)
		add("address", x.Address)
		if x.Chain == string(boot.ChainWindows) {
			add("chain", "Microsoft's own signed boot manager")
		}
		if x.Chain == string(boot.ChainGRUB) {
			add("chain", "shim and GRUB, signed by a distribution")
		}
		image := "none: the script says so on its screen"
		if x.Image != "" {
			image = x.Image + ": " + x.ImageName
		}
		switch {
		case x.Waiting:
			add("then", "it waits on its screen until it is approved")
		case x.Script != "" || x.Image != "":
			add("boot image", image)
			switch {
			case x.Assigned != "":
				add("then receives", strings.TrimSuffix(x.Assigned+" on "+x.Target, " on "))
			case len(x.Deployments) == 1:
				add("then runs", "deployment "+x.Deployments[0])
			case len(x.Deployments) > 1:
				add("then", "a person there chooses: "+strings.Join(x.Deployments, ", "))
			default:
				add("then receives", "nothing: it boots, says so, and waits")
			}
		}
	}
	if err := terminal.Table(out, rows); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nrule by rule:")
	rows = nil
	for _, r := range x.Rules {
		rows = append(rows, []string{"  " + r.Name, r.Says})
	}
	if err := terminal.Table(out, rows); err != nil {
		return err
	}
	if len(x.Lately) > 0 {
		fmt.Fprintln(out, "\nlately:")
		rows = nil
		for _, d := range x.Lately {
			did := "silent"
			if d.Answer != "" {
				did = strings.TrimSpace(d.Answer + " " + d.File)
			}
			rows = append(rows, []string{"  " + d.Time.Local().Format(time.DateTime), d.Asked, did, d.Reason})
		}
		if err := terminal.Table(out, rows); err != nil {
			return err
		}
	}
	if script && x.Script != "" {
		fmt.Fprintf(out, "\n%s", x.Script)
	}
	return nil
}
