package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Firmware is what a virtual machine starts with.
type Firmware string

// The firmwares.
const (
	BIOS       Firmware = "BIOS"             // SeaBIOS; PXE by an iPXE option ROM
	UEFI       Firmware = "UEFI"             // OVMF with its own PXE driver
	UEFISecure Firmware = "UEFI Secure Boot" // the same with Microsoft's keys enforced
	UEFIARM64  Firmware = "UEFI ARM64"       // the same for ARM64, which no test of make test needs
)

// Files of Debian's and Ubuntu's packages ovmf and, for ARM64, qemu-efi-aarch64.
const (
	aavmfCode = "/usr/share/AAVMF/AAVMF_CODE.fd"
	aavmfVars = "/usr/share/AAVMF/AAVMF_VARS.fd"

	ovmfCode       = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars       = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	ovmfSecureCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	ovmfSecureVars = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
)

// A Machine describes a virtual machine that boots from the network.
type Machine struct {
	Name     string
	Firmware Firmware
	Memory   int // MiB; 512 when zero
	CPUs     int // 1 when zero
	// HTTP has UEFI firmware boot by HTTP instead of PXE.
	HTTP bool
	// IPXE gives UEFI firmware a card with iPXE in its option ROM; BIOS has no other.
	IPXE bool
	// Disk is a raw image that the machine sees as /dev/vda; empty for none.
	Disk string
	// NVMe is a raw image that the machine sees as /dev/nvme0n1; empty for none.
	NVMe string
	// Restarts has the machine start again when its system restarts it, as machines
	// do; else it ends then.
	Restarts bool
	// Cards is how many network cards it has, each at a port of the switch; 1 when
	// zero.
	Cards int
	// Linux is a kernel to start in place of a network boot.
	Linux *Linux
	// Accel is what Accelerator returned; software emulation when empty.
	Accel string
	// CPU is QEMU's name of the processor; one that suits Accel when empty.
	CPU string
	// Display adds a graphics card, for Screenshot. Firmware and Linux talk to
	// the serial console, so most tests need none.
	Display bool
	// Echo, when set, is called for every line on the serial console.
	Echo func(line string)
	// Console, when set, gets every byte of the serial console; VM.Input is what is
	// typed at it.
	Console io.Writer
	// Link is the machine's cables, when they differ from others.
	Link Link
	// IPv6 has UEFI firmware boot over IPv6 as well; else it does not try, which would
	// cost it a time-out where nothing answers.
	IPv6 bool
}

// Link is a cable. One with a rate, loss or delay is made by this process, which
// carries its frames; it needs nothing of the kernel.
type Link struct {
	VLAN   int           // its port belongs to; 0 for none
	Rate   int64         // bits per second in each direction; 0 for no limit
	Loss   float64       // share of frames, 0 to 1, lost in each direction; ARP is not
	Delay  time.Duration // in each direction
	Jitter time.Duration // at most added to the delay; frames keep their order
}

// Linux is a kernel that QEMU puts into a machine's memory.
type Linux struct {
	Kernel, Initrd string // paths
	CommandLine    string
}

// A VM is a running virtual machine. Its transcript is its serial console,
// where firmware, loaders and Linux write.
type VM struct {
	*Process
	Name string
	MAC  string
	UUID string

	monitor string
	dir     string
	args    []string // of QEMU
	machine Machine
}

// macOf is the address of a machine's first card.
func macOf(number int) string { return fmt.Sprintf("52:54:00:77:00:%02x", number) }

// NextMAC is the address that a machine will have: the next to be booted for 0, the one
// after it for 1.
func (n *Network) NextMAC(after int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return macOf(n.machines + 1 + after)
}

// Boot starts a machine at a new port of the switch.
func (n *Network) Boot(ctx context.Context, m Machine) (*VM, error) {
	n.mu.Lock()
	n.machines++
	number := n.machines
	n.mu.Unlock()

	vm := &VM{Name: m.Name, MAC: macOf(number)}
	// The same in every run; version and variant as RFC 9562 has them.
	id := sha256.Sum256([]byte(m.Name + vm.MAC))
	vm.UUID = fmt.Sprintf("%x-%x-%04x-%04x-%x", id[:4], id[4:6],
		uint16(id[6])<<8&0x0f00|uint16(id[7])|0x4000, uint16(id[8])<<8&0x3f00|uint16(id[9])|0x8000, id[10:16])

	dir := filepath.Join(n.Dir, "vm"+strconv.Itoa(number))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("boot machine %s: %w", m.Name, err)
	}
	vm.monitor = filepath.Join(dir, "monitor")
	args, err := m.arguments(dir)
	if err != nil {
		return nil, fmt.Errorf("boot machine %s: %w", m.Name, err)
	}
	for i := range max(1, m.Cards) {
		card, err := n.card(ctx, m, i, number, vm)
		if err != nil {
			return nil, fmt.Errorf("boot machine %s: %w", m.Name, err)
		}
		args = append(args, card...)
	}
	args = append(args,
		"-name", m.Name, "-uuid", vm.UUID,
		"-qmp", "unix:"+vm.monitor+",server=on,wait=off",
	)
	vm.args, vm.dir, vm.machine = args, dir, m
	return vm, n.powerOn(vm)
}

func (n *Network) powerOn(vm *VM) (err error) {
	m := &vm.machine
	vm.Process, err = n.Switch.Start(Command{Args: vm.args, Dir: vm.dir, Echo: m.Echo, Output: m.Console, Input: m.Console != nil})
	if err != nil {
		return fmt.Errorf("boot machine %s: %w", m.Name, err)
	}
	return nil
}

// PowerOn starts a machine that is off again: the same one, with its disk and its
// firmware's variables, but with a transcript that begins anew.
func (n *Network) PowerOn(vm *VM) (*VM, error) {
	select {
	case <-vm.Done():
	default:
		return nil, fmt.Errorf("machine %s is on", vm.Name)
	}
	again := *vm
	return &again, n.powerOn(&again)
}

// card makes a port of the switch for a machine's card and returns QEMU's
// arguments for it.
func (n *Network) card(ctx context.Context, m Machine, i, number int, vm *VM) ([]string, error) {
	tap, mac := fmt.Sprintf("tap%d", number), vm.MAC
	if i > 0 {
		tap, mac = fmt.Sprintf("%s-%d", tap, i), fmt.Sprintf("52:54:00:77:%02x:%02x", i, number)
	}
	bridge := "br0"
	if m.Link.VLAN != 0 {
		if _, err := n.VLAN(ctx, m.Link.VLAN); err != nil {
			return nil, err
		}
		bridge = fmt.Sprintf("br%d", m.Link.VLAN)
	}
	sw := n.Switch.Namespace
	steps := [][]string{
		{"-n", sw, "tuntap", "add", "dev", tap, "mode", "tap"},
		{"-n", sw, "link", "set", tap, "master", bridge},
		{"-n", sw, "link", "set", tap, "txqueuelen", "4000", "up"},
	}
	if n.config.MTU != 0 {
		steps = append(steps, []string{"-n", sw, "link", "set", tap, "mtu", strconv.Itoa(n.config.MTU)})
	}
	for _, step := range steps {
		if err := ip(ctx, step...); err != nil {
			return nil, err
		}
	}
	netdev := fmt.Sprintf("tap,id=n%d,script=no,downscript=no,ifname=%s", i, tap)
	if m.Link.Rate != 0 || m.Link.Loss != 0 || m.Link.Delay != 0 || m.Link.Jitter != 0 {
		// QEMU sends each frame as a datagram to the cable, which sends it on.
		near, far := wirePorts(number, i)
		if err := n.wire(ctx, tap, near, far, m.Link); err != nil {
			return nil, err
		}
		netdev = fmt.Sprintf("socket,id=n%d,udp=127.0.0.1:%d,localaddr=127.0.0.1:%d", i, far, near)
	}
	// The BIOS boots by the option ROM that QEMU has for the card by itself (from
	// the package ipxe-qemu; QEMU puts the card's PCI ids into it, which it does
	// not for a ROM named here). OVMF gets none, unless asked for, and uses the PXE
	// driver that UEFI machines have.
	nic := fmt.Sprintf("virtio-net-pci,netdev=n%d,bootindex=%d,mac=%s", i, i+1, mac)
	if m.Firmware != BIOS && !m.IPXE || m.Linux != nil {
		nic += ",romfile="
	}
	if n.config.MTU != 0 {
		nic += fmt.Sprintf(",host_mtu=%d", n.config.MTU)
	}
	return []string{"-netdev", netdev, "-device", nic}, nil
}

// arguments is QEMU's command line but for what belongs to the network.
func (m *Machine) arguments(dir string) ([]string, error) {
	memory, cpus, accel, cpu := m.Memory, m.CPUs, m.Accel, m.CPU
	if memory == 0 {
		memory = 512
	}
	if cpus == 0 {
		cpus = 1
	}
	if accel == "" {
		accel = softwareAccel
	}
	if cpu == "" && accel == softwareAccel {
		// Emulated AES instructions beat AES in software by a third; emulated
		// vector instructions halve the speed of BLAKE3 and ChaCha20.
		cpu = "max,-avx,-avx2"
	} else if cpu == "" {
		cpu = "host"
	}
	program, machine := "qemu-system-x86_64", "q35"
	if m.Firmware == UEFIARM64 {
		program, machine, cpu = "qemu-system-aarch64", "virt", "max,pauth-impdef=on" // the real algorithm takes half of the time
	}
	args := []string{program,
		"-nodefaults", "-display", "none", "-no-user-config",
		"-accel", accel, "-cpu", cpu, "-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(memory),
		"-rtc", "base=utc",
		"-device", "virtio-rng-pci,max-bytes=1024,period=1000",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
	}
	if !m.Restarts {
		args = append(args, "-no-reboot")
	}
	switch m.Firmware {
	case BIOS:
		// SeaBIOS would go through system management mode for every read of a disk, and
		// emulation gets lost there after some tens of thousands of them.
		machine += ",smm=off"
		// Without graphics SeaBIOS, and iPXE through it, use the serial console.
		if !m.Display {
			machine += ",graphics=off"
		}
	case UEFI, UEFISecure, UEFIARM64:
		code, vars := ovmfCode, ovmfVars
		switch m.Firmware {
		case UEFIARM64:
			code, vars = aavmfCode, aavmfVars
		case UEFISecure:
			code, vars = ovmfSecureCode, ovmfSecureVars
			machine += ",smm=on"
			args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on")
		}
		own := filepath.Join(dir, "vars.fd")
		if err := copyFile(own, vars); err != nil {
			return nil, fmt.Errorf("copy the firmware's variables: %w", err)
		}
		if m.HTTP {
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=no")
		}
		args = append(args,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+code,
			"-drive", "if=pflash,unit=1,format=raw,file="+own,
		)
		if !m.IPv6 {
			// Nothing answers these in the lab; each would cost a time-out.
			args = append(args,
				"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no",
				"-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=no")
		} else if m.HTTP {
			args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no")
		}
	default:
		return nil, fmt.Errorf("unknown firmware %q", m.Firmware)
	}
	args = append(args, "-machine", machine)
	if m.Linux != nil {
		args = append(args, "-kernel", m.Linux.Kernel, "-initrd", m.Linux.Initrd, "-append", m.Linux.CommandLine)
	}
	if m.Display {
		args = append(args, "-device", "VGA")
	}
	if m.Disk != "" {
		// What the machine wrote is read back when it has ended, on a host that
		// does not crash in between: no flush needs to reach the disk.
		args = append(args,
			"-drive", "if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file="+m.Disk,
			"-device", "virtio-blk-pci,drive=d0,bootindex=100")
	}
	if m.NVMe != "" {
		args = append(args,
			"-drive", "if=none,id=d1,format=raw,cache=unsafe,discard=unmap,file="+m.NVMe,
			"-device", "nvme,drive=d1,serial=lab-nvme")
	}
	return args, nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: run test/install-tools", err)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
