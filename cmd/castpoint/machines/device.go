package machines

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/deploy"
	"castpoint/web/admin/deployments"
	"castpoint/web/admin/devices"
)

// deviceIDs says in every help how devices are named.
const deviceIDs = `ID is the device's id, its name, its UUID, one of its MACs, or the beginning of one of
these when only one device has it.`

// NewDevice are the commands about devices.
func NewDevice(o *cli.Options) *cobra.Command {
	return command.Group("device", "Work with the records of devices, and see what happened to them",
		newDeviceList(o), newDeviceShow(o), newDeviceAdd(o), newDeviceSet(o),
		newDeviceVerdict(o, "approve", "Let a device boot", "  castpoint device approve 52:54:00:12:34:56 --name pc-17"),
		newDeviceVerdict(o, "deny", "Keep a device from booting", "  castpoint device deny 52:54:00:12:34:56"),
		newDeviceRemove(o), newDeviceImport(o), newDeviceExport(o), newDeviceTimeline(o), newDeviceSecret(o), newDeviceRecovery(o), newDeviceWake(o))
}

// DevicePath is a device's path in the admin API.
func DevicePath(id string, more ...string) string {
	return "/devices/" + url.PathEscape(id) + strings.Join(more, "")
}

func newDeviceList(o *cli.Options) *cobra.Command {
	var q deploy.Query
	var state string
	c := o.AddJSON(&cobra.Command{
		Use: "list", Short: "List devices, those that wait for approval first", Args: cobra.NoArgs,
		Example: "  castpoint device list\n  castpoint device list --state waiting\n  castpoint device list --group lab --search pc-1 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" && !slices.Contains(deploy.States(), deploy.State(state)) {
				return command.Usage("state %q: want one of %v", state, deploy.States())
			}
			v := url.Values{"state": {state}, "group": {q.Group}, "search": {q.Search}, "limit": {strconv.Itoa(deploy.MaxLimit)}}
			if q.Limit < 0 || q.Limit > deploy.MaxLimit {
				return command.Usage("limit %d: want 1 to %d", q.Limit, deploy.MaxLimit)
			}
			if q.Limit > 0 {
				v.Set("limit", strconv.Itoa(q.Limit))
			}
			var p deploy.Page
			if err := o.Call(cmd.Context(), http.MethodGet, "/devices?"+v.Encode(), nil, &p); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if o.JSON {
				return terminal.JSON(out, p.Devices)
			}
			if p.Total == 0 {
				_, err := fmt.Fprintln(out, "no devices: castpoint device add, or import, puts some on record")
				return err
			}
			rows := [][]string{{"ID", "NAME", "STATE", "MAC", "UUID", "FIRMWARE", "LAST SEEN"}}
			for _, d := range p.Devices {
				mac := terminal.OrDash("")
				if len(d.MACs) > 0 {
					mac = d.MACs[0]
				}
				if more := len(d.MACs) - 1; more > 0 {
					mac += fmt.Sprintf(" +%d", more)
				}
				rows = append(rows, []string{d.ID, terminal.OrDash(d.Name), deviceState(&d), mac, terminal.OrDash(d.UUID), terminal.OrDash(d.Seen.Firmware), terminal.When(d.LastSeen)})
			}
			if err := terminal.Table(out, rows); err != nil {
				return err
			}
			if n := p.Total - len(p.Devices); n > 0 {
				_, err := fmt.Fprintf(out, "and %d more\n", n)
				return err
			}
			return nil
		},
	})
	f := c.Flags()
	f.StringVar(&state, "state", "", "`STATE`: known, imported, waiting or denied")
	f.StringVar(&q.Group, "group", "", "only those of a `GROUP`")
	f.StringVar(&q.Search, "search", "", "only those with `TEXT` in a name, an address or the notes")
	f.IntVar(&q.Limit, "limit", 0, "at most `N` (default 10000)")
	return c
}

func newDeviceShow(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "show ID", Short: "Show a device", Args: cobra.ExactArgs(1),
		Long:    "Show prints the record of a device.\n\n" + deviceIDs,
		Example: "  castpoint device show pc-17\n  castpoint device show 52:54:00:12:34:56 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d deploy.Device
			if err := o.Call(cmd.Context(), http.MethodGet, DevicePath(args[0]), nil, &d); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), d)
			}
			var secrets deployments.Names
			if err := o.Call(cmd.Context(), http.MethodGet, DevicePath(d.ID, "/secrets"), nil, &secrets); err != nil {
				return err
			}
			return printDevice(o, cmd.OutOrStdout(), &d, secrets.Items...)
		},
	})
}

// deviceState is a device's state for tables.
func deviceState(d *deploy.Device) string {
	if d.Protected {
		return string(d.State) + ", protected"
	}
	return string(d.State)
}

// printDevice prints a device with the names of its secret variables.
func printDevice(o *cli.Options, out io.Writer, d *deploy.Device, secrets ...string) error {
	if o.JSON {
		return terminal.JSON(out, d)
	}
	rows := [][]string{{"id", d.ID}, {"name", terminal.OrDash(d.Name)}, {"state", string(d.State)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("UUID", d.UUID)
	for _, mac := range d.MACs {
		add("MAC", mac)
	}
	if d.Protected {
		add("protected", "yes: changed by hand only")
	}
	add("groups", strings.Join(d.Groups, ", "))
	for _, name := range slices.Sorted(maps.Keys(d.Variables)) {
		add("variable", name+"="+d.Variables[name])
	}
	for _, name := range secrets {
		add("secret", name)
	}
	add("boot", strings.Join(d.Boot.Settings, " "))
	add("boot image", d.Boot.Image)
	add("loader", d.Boot.Loader)
	add("style", d.Boot.Style)
	if d.Boot.Delay != nil {
		add("delay", fmt.Sprintf("%ds", *d.Boot.Delay))
	}
	add("firmware", d.Seen.Firmware)
	add("interface", d.Seen.Interface)
	add("notes", d.Notes)
	if i := d.Inventory; i != nil {
		add("make and model", strings.TrimSpace(i.Manufacturer+" "+i.Model))
		add("serial number", i.Serial)
		add("processor", i.CPU)
		if i.Memory > 0 {
			add("memory", fmt.Sprintf("%d MiB", i.Memory))
		}
		for _, disk := range i.Disks {
			add(fmt.Sprintf("disk %d", disk.Number), strings.TrimSpace(fmt.Sprintf("%s %s, %.0f GB", disk.Model, disk.Serial, float64(disk.Size)/1e9)))
		}
		if i.TPM != "" {
			add("TPM", i.TPM)
		}
		if i.Firmware == "uefi" {
			add("Secure Boot", map[bool]string{true: "on", false: "off"}[i.SecureBoot])
		}
		for _, n := range i.NICs {
			link := "no link"
			if n.Link {
				link = "link"
			}
			add("network card", strings.TrimSpace(fmt.Sprintf("%s %s, %s %s", n.Name, n.MAC, link, strings.Join(n.Addresses, " "))))
		}
		add("firmware is", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", i.Firmware, i.FirmwareVendor, i.FirmwareVersion, i.FirmwareDate)))
		add("reported", terminal.When(i.Time))
	}
	add("on record since", terminal.When(d.Created))
	add("first seen", terminal.When(d.FirstSeen))
	add("last seen", terminal.When(d.LastSeen))
	return terminal.Table(out, rows)
}

// deviceFlags are what people set of a device.
type deviceFlags struct {
	name, uuid, notes, image, loader, style string
	macs, addMACs, dropMACs, groups, boot   []string
	variables                               []string
	protected                               bool
	delay                                   int
}

func (f *deviceFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.name, "name", "", "`NAME` that people know it by")
	s.StringVar(&f.uuid, "uuid", "", "its SMBIOS `UUID`")
	s.StringSliceVar(&f.macs, "mac", nil, "`MAC` of one of its cards; may be repeated")
	s.StringSliceVar(&f.groups, "group", nil, "`GROUP` that it belongs to; may be repeated")
	s.StringVar(&f.notes, "notes", "", "`TEXT` for people")
	s.StringArrayVar(&f.variables, "variable", nil, "`NAME=VALUE` for what is deployed; may be repeated")
	s.StringSliceVar(&f.boot, "boot", nil, "`NAME=VALUE` of the boot settings: "+strings.Join(boot.ChangeNames(), ", ")+"; may be repeated")
	s.StringVar(&f.image, "boot-image", "", "`ID` of its boot image")
	s.StringVar(&f.loader, "loader", "", "`FILE` below a loader folder that its firmware gets first")
	s.StringVar(&f.style, "style", "", "`STYLE` of ProxyDHCP: complete, redirect, menu or raspberry-pi")
	s.IntVar(&f.delay, "delay", -1, "`SECONDS` before a DISCOVER is answered")
	s.BoolVar(&f.protected, "protected", false, "changed by hand only: no import and no machine changes it, and it is not removed")
}

// values splits the variables.
func (f *deviceFlags) values() (map[string]string, error) {
	all := make(map[string]string)
	for _, v := range f.variables {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, command.Usage("variable %q: want NAME=VALUE", v)
		}
		all[name] = value
	}
	return all, nil
}

func newDeviceAdd(o *cli.Options) *cobra.Command {
	var f deviceFlags
	c := o.AddJSON(&cobra.Command{
		Use: "add", Short: "Put a device on record", Args: cobra.NoArgs,
		Long:    "Add puts a device on record, known by a UUID, by MACs, or both. It may boot from then on.",
		Example: "  castpoint device add --name pc-17 --mac 52:54:00:12:34:56 --uuid 4c4c4544-0042-3510-8052-b3c04f4b4e32\n  castpoint device add --mac 52:54:00:12:34:57 --group lab --boot chain=windows",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.uuid == "" && len(f.macs) == 0 {
				return command.Usage("say what the device is known by: --mac MAC, --uuid UUID, or both")
			}
			variables, err := f.values()
			if err != nil {
				return err
			}
			req := devices.AddDevice{
				Name: f.name, UUID: f.uuid, MACs: f.macs, Protected: f.protected, Notes: f.notes, Groups: f.groups, Variables: variables,
				Boot: deploy.BootSettings{Settings: f.boot, Image: f.image, Loader: f.loader, Style: f.style},
			}
			if f.delay >= 0 {
				req.Boot.Delay = &f.delay
			}
			var d deploy.Device
			if err := o.Call(cmd.Context(), http.MethodPost, "/devices", req, &d); err != nil {
				return err
			}
			return printDevice(o, cmd.OutOrStdout(), &d)
		},
	})
	f.add(c)
	return c
}

func newDeviceSet(o *cli.Options) *cobra.Command {
	var f deviceFlags
	c := o.AddJSON(&cobra.Command{
		Use: "set ID", Short: "Change a device", Args: cobra.ExactArgs(1),
		Long: `Set changes what the flags name and leaves the rest. Lists are replaced whole, but for
--add-mac and --remove-mac; an empty value gives a setting back to the server's, and
--variable NAME= takes a variable away.

` + deviceIDs,
		Example: "  castpoint device set pc-17 --add-mac 52:54:00:12:34:57 --group lab\n  castpoint device set pc-17 --boot chain=windows --boot ca=2023\n  castpoint device set pc-17 --boot '' --delay -1",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := devices.SetDevice{AddMACs: f.addMACs, DropMACs: f.dropMACs}
			given := cmd.Flags().Changed
			text := func(name string, value *string, to **string) {
				if given(name) {
					*to = value
				}
			}
			list := func(name string, value *[]string, to **[]string) {
				if given(name) {
					*value = slices.DeleteFunc(*value, func(s string) bool { return s == "" })
					*to = value
				}
			}
			text("name", &f.name, &req.Name)
			text("uuid", &f.uuid, &req.UUID)
			text("notes", &f.notes, &req.Notes)
			text("boot-image", &f.image, &req.Image)
			text("loader", &f.loader, &req.Loader)
			text("style", &f.style, &req.Style)
			list("mac", &f.macs, &req.MACs)
			list("group", &f.groups, &req.Groups)
			list("boot", &f.boot, &req.Settings)
			if given("protected") {
				req.Protected = &f.protected
			}
			if given("delay") {
				req.Delay = &f.delay
			}
			variables, err := f.values()
			if err != nil {
				return err
			}
			for name, value := range variables {
				if req.Variables == nil {
					req.Variables = make(map[string]*string)
				}
				if req.Variables[name] = nil; value != "" {
					req.Variables[name] = &value
				}
			}
			if cmd.Flags().NFlag() == 0 {
				return command.Usage("say what to change: castpoint device set --help lists it")
			}
			var d deploy.Device
			if err := o.Call(cmd.Context(), http.MethodPatch, DevicePath(args[0]), req, &d); err != nil {
				return err
			}
			return printDevice(o, cmd.OutOrStdout(), &d)
		},
	})
	f.add(c)
	c.Flags().StringSliceVar(&f.addMACs, "add-mac", nil, "`MAC` beside those it has; may be repeated")
	c.Flags().StringSliceVar(&f.dropMACs, "remove-mac", nil, "`MAC` that it has no more; may be repeated")
	return c
}

// newDeviceVerdict makes approve and deny.
func newDeviceVerdict(o *cli.Options, verb, short, example string) *cobra.Command {
	var req devices.ApproveDevice
	long := "Deny keeps a device from booting, whatever the policy is; one that waits goes on to its own disk.\n\n" + deviceIDs
	if verb == "approve" {
		long = "Approve lets a device boot: one that waits on its screen goes on within seconds.\n\n" + deviceIDs
	}
	c := o.AddJSON(&cobra.Command{
		Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1), Long: long, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			var body any
			if verb == "approve" {
				body = req
			}
			var d deploy.Device
			if err := o.Call(cmd.Context(), http.MethodPost, DevicePath(args[0], "/", verb), body, &d); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), d)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "device %s (%s) is %s\n", d.Label(), d.ID, d.State)
			return err
		},
	})
	if verb == "approve" {
		c.Flags().StringVar(&req.Name, "name", "", "`NAME` to give it")
	}
	return c
}

func newDeviceRemove(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "remove ID", Short: "Take a device off the record", Args: cobra.ExactArgs(1),
		Long:    "Remove takes a device off the record; its timeline stays as long as its events are kept.\n\n" + deviceIDs,
		Example: "  castpoint device remove pc-17",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d deploy.Device
			if err := o.Call(cmd.Context(), http.MethodGet, DevicePath(args[0]), nil, &d); err != nil {
				return err
			}
			if err := o.Call(cmd.Context(), http.MethodDelete, DevicePath(d.ID), nil, nil); err != nil {
				return err
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), d)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "device %s (%s) is no longer on record\n", d.Label(), d.ID)
			return err
		},
	})
}

func newDeviceImport(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "import FILE.csv", Short: "Put the devices of a table on record", Args: cobra.ExactArgs(1),
		Long: `Import reads a table whose first line names its columns: name, uuid, mac (several with
blanks between), state, protected, groups, notes, boot, boot-image, loader, style,
delay and var.NAME. A row that has the UUID, a MAC or the name of a device on record
changes it, in the columns that the table has. protected is true or false. All rows are taken, or none, and every
wrong line is named. "-" is standard input.`,
		Example: "  castpoint device import lab.csv",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			var got deploy.Imported
			if err := client.Send(cmd.Context(), "/devices/import", "text/csv", in, &got); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), got)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d devices added, %d changed, %d as they were\n", got.Added, got.Changed, got.Same)
			return err
		},
	})
}

func newDeviceExport(o *cli.Options) *cobra.Command {
	return o.AddJSON(&cobra.Command{
		Use: "export", Short: "Print all devices as a table that import reads", Args: cobra.NoArgs,
		Example: "  castpoint device export > devices.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, done, err := o.Admin(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			all := []deploy.Device{}
			for after := ""; ; {
				var p deploy.Page
				v := url.Values{"limit": {strconv.Itoa(deploy.MaxLimit)}, "after": {after}}
				if err := client.Call(cmd.Context(), http.MethodGet, "/devices?"+v.Encode(), nil, &p); err != nil {
					return err
				}
				all = append(all, p.Devices...)
				if after = p.Next; after == "" {
					break
				}
			}
			if o.JSON {
				return terminal.JSON(cmd.OutOrStdout(), all)
			}
			return deploy.WriteCSV(cmd.OutOrStdout(), all)
		},
	})
}
