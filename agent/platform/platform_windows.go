package platform

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// commandTime bounds what Windows' own programs may take: DHCP gives up after a
// minute.
const commandTime = 90 * time.Second

var (
	kernel32             = windows.NewLazySystemDLL("kernel32.dll")
	procReadConsoleInput = kernel32.NewProc("ReadConsoleInputW")
	procSetSystemTime    = kernel32.NewProc("SetSystemTime")
)

type windowsPE struct{}

// New makes the platform of this machine.
func New() Platform { return windowsPE{} }

func (p windowsPE) Network(ctx context.Context, mac string, say func(string)) ([]Card, error) {
	return bringUp(ctx, p, mac, say)
}

func (windowsPE) cards() ([]Card, error) { return listCards() }

// start is what wpeinit does for the network, which start.cmd has called before:
// a driver that was loaded since, or a card that was slow, needs it again.
func (windowsPE) start(ctx context.Context) error {
	return runQuiet(ctx, "wpeutil", "InitializeNetwork")
}

func (windowsPE) renew(ctx context.Context) error { return runQuiet(ctx, "ipconfig", "/renew") }

// runQuiet runs a program; what it said is in the error.
func runQuiet(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// driverless lists the PCI network controllers without a driver that works.
func (windowsPE) driverless() ([]string, error) {
	set, err := windows.SetupDiGetClassDevsEx(nil, "PCI", 0, windows.DIGCF_ALLCLASSES|windows.DIGCF_PRESENT, 0, "")
	if err != nil {
		return nil, fmt.Errorf("list PCI devices: %w", err)
	}
	defer set.Close()
	var found []string
	for i := 0; ; i++ {
		dev, err := set.EnumDeviceInfo(i)
		if err != nil {
			return found, nil // the end of the list
		}
		var ids []string
		for _, property := range []windows.SPDRP{windows.SPDRP_HARDWAREID, windows.SPDRP_COMPATIBLEIDS} {
			if v, err := set.DeviceRegistryProperty(dev, property); err == nil {
				list, _ := v.([]string)
				ids = append(ids, list...)
			}
		}
		id, ok := networkDevice(ids)
		var status, problem uint32
		if !ok || windows.CM_Get_DevNode_Status(&status, &problem, dev.DevInst, 0) == nil && status&windows.DN_STARTED != 0 {
			continue
		}
		if v, err := set.DeviceRegistryProperty(dev, windows.SPDRP_DEVICEDESC); err == nil {
			if name, _ := v.(string); name != "" {
				id += " (" + name + ")"
			}
		}
		found = append(found, id)
	}
}

// SetClock sets the system's clock, which Windows PE keeps in UTC.
func (windowsPE) SetClock(now time.Time) error {
	u := now.UTC()
	st := windows.Systemtime{
		Year: uint16(u.Year()), Month: uint16(u.Month()), DayOfWeek: uint16(u.Weekday()), Day: uint16(u.Day()),
		Hour: uint16(u.Hour()), Minute: uint16(u.Minute()), Second: uint16(u.Second()), Milliseconds: uint16(u.Nanosecond() / 1e6),
	}
	if ok, _, err := procSetSystemTime.Call(uintptr(unsafe.Pointer(&st))); ok == 0 {
		return os.NewSyscallError("SetSystemTime", err)
	}
	return nil
}

// Prompt opens cmd.exe in a window of its own; the agent's screen stays.
func (windowsPE) Prompt(context.Context) error {
	c := exec.Command("cmd.exe") //nolint:noctx // it outlives the agent
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_CONSOLE}
	if err := c.Start(); err != nil {
		return err
	}
	return c.Process.Release()
}

func (windowsPE) Console(out io.Writer) Console {
	f, ok := out.(*os.File)
	if !ok {
		return nil
	}
	c := &windowsConsole{out: windows.Handle(f.Fd())}
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(c.out, &info) != nil {
		return nil // a pipe or a file
	}
	if in, err := windows.GetStdHandle(windows.STD_INPUT_HANDLE); err == nil && windows.GetConsoleMode(in, &c.before) == nil {
		c.in = in
	}
	return c
}

// windowsConsole is the part of the screen buffer that the window shows.
type windowsConsole struct {
	out    windows.Handle
	in     windows.Handle // 0 without a keyboard
	before uint32
}

func (c *windowsConsole) window() (w windows.SmallRect, ok bool) {
	var info windows.ConsoleScreenBufferInfo
	err := windows.GetConsoleScreenBufferInfo(c.out, &info)
	return info.Window, err == nil
}

// Size is one column less than there are: behind the last one the cursor would
// go on and scroll.
func (c *windowsConsole) Size() (width, height int) {
	w, ok := c.window()
	if !ok {
		return 79, 25
	}
	return int(w.Right - w.Left), int(w.Bottom-w.Top) + 1
}

func (c *windowsConsole) Draw(lines []string) error {
	w, _ := c.window()
	for i, line := range lines {
		text := windows.StringToUTF16(line)
		var n uint32
		err := windows.SetConsoleCursorPosition(c.out, windows.Coord{X: w.Left, Y: w.Top + int16(i)})
		if err == nil {
			err = windows.WriteConsole(c.out, &text[0], uint32(len(text)-1), &n, nil)
		}
		if err != nil {
			return fmt.Errorf("write to the console: %w", err)
		}
	}
	return nil
}

// Constants of wincon.h and winuser.h.
const (
	consoleKeyEvent = 0x0001
	keyPoll         = 200 // milliseconds until the end of ctx is looked for
)

// virtualKeys are the keys that are no characters, by their virtual-key codes.
var virtualKeys = map[uint16]Key{0x77: KeyPrompt, 0x26: KeyUp, 0x28: KeyDown, 0x0d: KeyEnter, 0x08: KeyBack}

// consoleInput is INPUT_RECORD with a KEY_EVENT_RECORD in it, the largest of its
// events.
type consoleInput struct {
	kind    uint16
	_       uint16
	down    int32
	repeat  uint16
	virtual uint16
	scan    uint16
	char    uint16
	control uint32
}

func (c *windowsConsole) Key(ctx context.Context) (Key, error) {
	for {
		if c.in == 0 {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		event, err := windows.WaitForSingleObject(c.in, keyPoll)
		if err != nil {
			return 0, os.NewSyscallError("WaitForSingleObject", err)
		}
		if event != windows.WAIT_OBJECT_0 {
			continue
		}
		var in consoleInput
		var n uint32
		if ok, _, err := procReadConsoleInput.Call(uintptr(c.in), uintptr(unsafe.Pointer(&in)), 1, uintptr(unsafe.Pointer(&n))); ok == 0 {
			return 0, os.NewSyscallError("ReadConsoleInput", err)
		}
		if n != 1 || in.kind != consoleKeyEvent || in.down == 0 {
			continue
		}
		if key, ok := virtualKeys[in.virtual]; ok {
			return key, nil
		}
		if r := rune(in.char); r >= ' ' && r != 0x7f && !utf16.IsSurrogate(r) {
			return Key(r), nil
		}
	}
}

func (c *windowsConsole) Close() error {
	w, ok := c.window()
	if !ok {
		return nil
	}
	return windows.SetConsoleCursorPosition(c.out, windows.Coord{X: w.Left, Y: w.Bottom})
}
