package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/boot"
	"castpoint/boot/httpboot"
	"castpoint/boot/source"
	"castpoint/boot/winpe"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/images"
	"castpoint/cmd/castpoint/machines"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/point"
	"castpoint/point/explain"
	"castpoint/point/host"
	"castpoint/point/settings"
	"castpoint/web/admin"
	"castpoint/web/session"
)

// roomNeeded is what should be free in the data folder beyond the reserve, in
// bytes: the smallest of images.
const roomNeeded = 1 << 30

// NewDoctor is the command that looks for what keeps machines from booting.
func NewDoctor(o *cli.Options) *cobra.Command {
	var path, server string
	var times []string
	c := o.AddJSON(&cobra.Command{
		Use: "doctor", Short: "Look for what keeps machines from booting, and say what to do", Args: cobra.NoArgs,
		Long: `Doctor looks at this machine as a server (privileges, interfaces, ports, firewall, buffers,
disk, clock, certificates), asks the running server what it sees, and fetches boot files by
TFTP and HTTP as firmware would. It changes nothing: to measure the disk it writes a file of
64 MiB into the data folder, and removes it. With --server it only fetches, from a server
elsewhere on the network.

The clock is compared with the time servers of the setting ntp, those that other DHCP
servers tell machines of, and those of --ntp.

Exit codes: 0 nothing needs attention, 3 something does.`,
		Example: `  castpoint doctor
  castpoint doctor --server 192.0.2.1
  castpoint doctor --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return command.Usage("%w", err)
			}
			o.Data = dataOf(cmd, o, path)
			cfg.Data = o.Data
			// Before a command of root becomes the user of the data folder.
			capabilities, _ := doctor.Capabilities("/proc") // 0: the check says why they are not known
			var t doctor.Target
			if server != "" {
				t, err = farTarget(&cfg, server)
			} else {
				t, err = nearTarget(cmd.Context(), o, &cfg, path)
				t.TimeServers = append(given("--ntp", times), t.TimeServers...)
				t.Capabilities = capabilities
			}
			if err != nil {
				return err
			}
			found := doctor.Run(cmd.Context(), t)
			if o.JSON {
				err = terminal.JSON(cmd.OutOrStdout(), found)
			} else {
				err = printFindings(cmd.OutOrStdout(), found)
			}
			if n := doctor.Worst(found); err == nil && n > 0 {
				err = cli.PartlyDone(fmt.Errorf("%d of %d findings need attention", n, len(found)))
			}
			return err
		},
	})
	c.Flags().StringSliceVar(&times, "ntp", nil, "`SERVER` of time to compare the clock with; may be repeated")
	c.Flags().StringVar(&server, "server", "", "`ADDRESS` of a server elsewhere; then only its boot files are fetched")
	cli.ConfigFlag(c, &path)
	c.AddCommand(newDoctorMulticast(o))
	return c
}

func printFindings(out io.Writer, found []doctor.Finding) error {
	var rows [][]string
	for _, f := range found {
		level := string(f.Level)
		if f.Level == doctor.Attention {
			level = "ATTENTION"
		}
		rows = append(rows, []string{level, f.Check, f.Text})
		if f.Do != "" {
			rows = append(rows, []string{"", "", "-> " + f.Do})
		}
	}
	return terminal.Table(out, rows)
}

// given are time servers that somebody names.
func given(by string, addresses []string) (all []doctor.TimeServer) {
	for _, a := range addresses {
		all = append(all, doctor.TimeServer{Address: a, Of: by})
	}
	return all
}

// farTarget is a server of which nothing is known but its address.
func farTarget(cfg *config.Config, server string) (t doctor.Target, err error) {
	addr, err := netip.ParseAddr(server)
	if err != nil {
		return t, command.Usage("server %q: want an address, as in 192.0.2.1", server)
	}
	port, err := settings.PortOf("http", cfg.HTTP)
	if err != nil {
		return t, err
	}
	return doctor.Target{
		TFTP: netip.AddrPortFrom(addr, settings.TFTPPort), HTTP: "http://" + netip.AddrPortFrom(addr, port).String(),
		Files: loaderNames(), Try: true,
	}, nil
}

// loaderNames are all boot loaders that firmware is told to fetch.
func loaderNames() (names []string) {
	seen := map[string]bool{}
	table := boot.DefaultFirmware()
	for _, a := range machines.ArchNames {
		for _, name := range table[a.Arch].Loaders {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// nearTarget is this machine, and the server that has the data folder, if any.
func nearTarget(ctx context.Context, o *cli.Options, cfg *config.Config, path string) (doctor.Target, error) {
	t := doctor.Target{Here: true, Data: cfg.Data, Room: roomNeeded + int64(cfg.DiskReserve), Ports: settings.Ports(cfg), TimeServers: given("setting ntp", cfg.NTP)}
	first, count, err := cfg.GroupRange()
	if err == nil && count == 0 {
		first, count = netip.MustParseAddr(session.DefaultFirstGroup), session.DefaultGroups
	}
	if err == nil && first.Is4() {
		n := binary.BigEndian.Uint32(first.AsSlice()) + uint32(count) - 1
		t.Groups = [2]netip.Addr{first, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))}
	}
	links, err := host.FindLinks(cfg.Interface)
	for _, l := range links {
		t.Interfaces = append(t.Interfaces, doctor.Interface{Name: l.Name, Address: l.Address})
	}
	if err != nil {
		for _, name := range cfg.Interface {
			t.Interfaces = append(t.Interfaces, doctor.Interface{Name: name})
		}
	}
	// Only look: the folder is made by serve, and not by a question about it.
	if _, err := os.Stat(cfg.Data); err == nil {
		askServer(ctx, o, &t, path)
	}
	t.Certificates = usedCertificates(cfg, t.Interfaces)
	loaders, err := source.NewLoaders(cfg.Loaders...)
	if err == nil {
		t.Signed = append(t.Signed, signedLoaders(loaders)...)
	}
	return t, nil
}

// askServer adds what the running server says. Without one there is nothing to
// fetch, and what machines would get is told by the settings.
func askServer(ctx context.Context, o *cli.Options, t *doctor.Target, path string) {
	var s admin.Status
	if err := o.Call(ctx, http.MethodGet, "/status", nil, &s); err != nil {
		t.Others = append(t.Others, doctor.Finding{Level: doctor.Note, Text: "the data folder cannot be asked: " + err.Error()})
		return
	}
	if n := s.Network; n != nil {
		t.Running, t.Interfaces, t.Ports = true, nil, nil
		for _, i := range n.Interfaces {
			name, addr, _ := strings.Cut(i, " ")
			a, _ := netip.ParseAddr(addr) // "" is an interface without one
			t.Interfaces = append(t.Interfaces, doctor.Interface{Name: name, Address: a})
		}
		for _, p := range n.Ports {
			t.Ports = append(t.Ports, doctor.Port(p))
		}
		t.TimeServers = append(t.TimeServers, given("of another DHCP server", n.TimeServers)...)
		t.Since = s.Started
		for _, q := range n.Queriers {
			a, _ := netip.ParseAddr(q.Address) // "" is none
			t.Queriers = append(t.Queriers, doctor.Querier{Interface: q.Interface, Address: a, Heard: q.Heard})
		}
		for _, other := range n.Others {
			f := doctor.Finding{Level: doctor.OK, Text: fmt.Sprintf("%s at %s on %s", other.What, other.Address, other.Interface)}
			if other.Trouble != "" {
				f.Level, f.Do = doctor.Attention, other.Trouble
			}
			t.Others = append(t.Others, f)
		}
	}
	contents, err := cli.ListAll[content.Content](ctx, o, "/contents")
	if err != nil {
		return
	}
	images := map[string]bool{}
	for _, ct := range contents {
		if ct.Kind == content.KindBootImage {
			images[ct.Arch] = true
			t.Signed = append(t.Signed, signedImage(ctx, o, &ct)...)
		}
	}
	for _, m := range []struct{ arch, name, image string }{
		{"bios", "BIOS", "amd64"}, {"x64", "UEFI x64", "amd64"}, {"x64-http", "UEFI x64 by HTTP", "amd64"},
		{"arm64", "UEFI ARM64", "arm64"},
	} {
		arch, byHTTP, _ := machines.ParseArch(m.arch) // one of the table
		var x explain.Explanation
		q := explain.Question{MAC: "02:00:00:00:00:01", Arch: uint16(arch), HTTP: byHTTP, Known: true}
		b := doctor.Boot{Machine: m.name, Needed: images[m.image]}
		if err := o.CallWith(ctx, point.LocalExplain(path, o.Data), http.MethodPost, "/explain", q, &x); err != nil {
			b.Reason = err.Error()
		} else {
			b.Served, b.Reason = x.Answered, x.Reason
			fetchAs(t, &x, byHTTP)
		}
		t.Boots = append(t.Boots, b)
	}
}

// fetchAs adds what a machine is told to fetch.
func fetchAs(t *doctor.Target, x *explain.Explanation, byHTTP bool) {
	if !t.Running || !x.Answered || x.File == "" || strings.HasSuffix(x.File, explain.BootLocal) {
		return
	}
	name := x.File
	if byHTTP {
		u, err := url.Parse(x.File)
		if err != nil || u.Host == "" {
			return
		}
		t.HTTP = u.Scheme + "://" + u.Host
		name = u.Path
	} else if a, err := netip.ParseAddr(x.Next); err == nil {
		t.TFTP = netip.AddrPortFrom(a, settings.TFTPPort)
	}
	name = strings.TrimPrefix(name, "/")
	for _, have := range t.Files {
		if have == name {
			return
		}
	}
	t.Files = append(t.Files, name)
}

// usedCertificates are those that this machine's listeners show.
func usedCertificates(cfg *config.Config, links []doctor.Interface) (all []doctor.Certificate) {
	add := func(what, file, do string, hosts []string) {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			b = nil // told as a file without a certificate
		}
		all = append(all, doctor.Certificate{What: what + " (" + file + ")", PEM: b, Hosts: hosts, Do: do})
	}
	add("receivers' listener", filepath.Join(cfg.Data, "tls", "join.pem"), "remove the file and restart: the pin of receivers changes with it", nil)
	switch {
	case cfg.HTTPS == "":
	case cfg.HTTPSCert == "":
		add("castpoint's CA of boot files", filepath.Join(cfg.Data, "tls", "boot-ca.pem"), "remove the folder tls, restart, and enroll boot-ca.crt in the machines again", nil)
	default:
		var hosts []string
		for _, l := range links {
			if l.Address.IsValid() {
				hosts = append(hosts, l.Address.String())
			}
		}
		if len(cfg.HTTPSName) > 0 {
			hosts = cfg.HTTPSName // machines are told names
		}
		all = append(all, pairFindings(cfg, hosts))
	}
	return all
}

// pairFindings is a given certificate, which must fit its key.
func pairFindings(cfg *config.Config, hosts []string) doctor.Certificate {
	c := doctor.Certificate{What: "boot files by HTTPS (" + cfg.HTTPSCert + ")", Hosts: hosts, Do: "renew it: https-cert and https-key"}
	if _, err := httpboot.LoadTLS(cfg.HTTPSCert, cfg.HTTPSKey); err != nil {
		c.Do = err.Error()
		return c
	}
	c.PEM, _ = os.ReadFile(cfg.HTTPSCert) // it was read just now
	return c
}

// signedLoaders are the loaders that carry signatures.
func signedLoaders(loaders *source.Loaders) (all []doctor.Signed) {
	for _, name := range append(loaderNames(), "shimx64.efi", "shimx64.efi.signed", "shimaa64.efi.signed", "grubx64.efi.signed", "bootmgfw.efi", "wdsmgfw.efi") {
		file, ok := loaders.Find(name)
		if !ok {
			continue
		}
		all = append(all, signedFile(name, file)...)
	}
	return all
}

// signedFile is a file if it carries signatures. That it cannot be read is told by
// fetching it, or by the validation of its content.
func signedFile(name, file string) []doctor.Signed {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	list, err := winpe.ReadSigners(f, st.Size())
	if err != nil {
		return nil
	}
	return signed(name, list)
}

func signed(name string, list []winpe.Signer) (all []doctor.Signed) {
	for _, s := range list {
		all = append(all, doctor.Signed{Name: name, By: s.CA, NotAfter: s.NotAfter})
	}
	return all
}

// signedImage are the files of a boot image that carry signatures: boot managers
// of Windows PE, in the image and beside it, or a Linux kernel.
func signedImage(ctx context.Context, o *cli.Options, ct *content.Content) (all []doctor.Signed) {
	if kernel, ok := ct.File(content.RoleKernel); ok {
		d := kernel.Digest.String()
		return signedFile(ct.ID+": "+kernel.Name, filepath.Join(o.Data, point.FolderLibrary, "objects", d[:2], d))
	}
	r, err := images.BootReport(ctx, o, ct)
	if err != nil || r == nil {
		return nil // what machines would get of it the check of boots tells
	}
	for _, f := range r.Files {
		all = append(all, signed(ct.ID+": "+f.Name, f.Signers)...)
	}
	return all
}
