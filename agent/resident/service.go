package resident

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"castpoint/agent/machine"
)

// hivePath is the registry hive of Windows that has the services.
const hivePath = "Windows/System32/config/SYSTEM"

// loadedHive is where Windows PE shows the hive of the Windows that was applied.
const loadedHive = `HKLM\castpoint-system`

// Types of registry values, as reg.exe calls them.
const (
	regDword  = "REG_DWORD"
	regString = "REG_SZ"
	regExpand = "REG_EXPAND_SZ"
	regBinary = "REG_BINARY"
)

// value is a value of the service's key.
type value struct {
	name, kind string
	text       string // of texts, and of numbers in decimal
	data       []byte // of binary ones
}

// failureActions has the service started again a minute after it has failed
// (SERVICE_FAILURE_ACTIONS as the registry keeps it: five numbers, then pairs of an
// action and its delay in milliseconds).
func failureActions() []byte {
	const restart, day = 1, 24 * 60 * 60
	var b []byte
	for _, n := range []uint32{day, 0, 0, 3, 20, restart, 60_000, restart, 60_000, restart, 60_000} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// service is what makes a service of the agent (winsvc.h): a process of its own,
// started with the system, as the system.
func service() []value {
	return []value{
		{name: "Type", kind: regDword, text: "16"},
		{name: "Start", kind: regDword, text: "2"},
		{name: "ErrorControl", kind: regDword, text: "1"},
		{name: "ImagePath", kind: regExpand, text: `"%SystemRoot%\` + Name + `\castagent.exe" continue --service`},
		{name: "ObjectName", kind: regString, text: "LocalSystem"},
		{name: "DisplayName", kind: regString, text: "castpoint: the task sequence of this machine"},
		{name: "Description", kind: regString, text: "Goes on with the task sequence that has installed this Windows. It removes itself at the end."},
		{name: "FailureActions", kind: regBinary, data: failureActions()},
		{name: "FailureActionsOnNonCrashFailures", kind: regDword, text: "1"},
	}
}

// addService writes the service into the registry of the system: of one that does not
// run, into the file of its hive.
func (o *Options) addService(ctx context.Context) error {
	if !o.inBootEnvironment() {
		return o.regAdd(ctx, `HKLM\SYSTEM\CurrentControlSet\Services\`+Name)
	}
	hive, err := machine.Find(o.System.Root, hivePath)
	if err != nil {
		return err
	}
	if err := closedHive(hive); err != nil {
		return err
	}
	if strings.HasPrefix(o.Environment, Windows) {
		return o.loadHive(ctx, hive)
	}
	return o.editHive(ctx, hive)
}

// closedHive refuses a hive whose last changes are in its logs only: a program that
// does not read them would make them disappear. The two numbers behind "regf" are the
// same in a hive that was closed.
func closedHive(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [12]byte
	if _, err := io.ReadFull(f, b[:]); err != nil || string(b[:4]) != "regf" {
		return fmt.Errorf("%s is no registry hive: the image is no Windows that can be started", hivePath)
	}
	le := binary.LittleEndian
	if le.Uint32(b[4:]) != le.Uint32(b[8:]) {
		return fmt.Errorf("%s was not closed when the image was made: capture the image of a Windows that was shut down, or let the restart be the last step", hivePath)
	}
	return nil
}

// loadHive adds the service in Windows PE, by reg.exe.
func (o *Options) loadHive(ctx context.Context, hive string) (err error) {
	if err := o.must(ctx, "", "reg", "load", loadedHive, hive); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.must(ctx, "", "reg", "unload", loadedHive)) }()
	said, err := o.run(ctx, "", "reg", "query", loadedHive+`\Select`, "/v", "Default")
	if err != nil {
		return err
	}
	m := regNumber.FindStringSubmatch(said)
	if m == nil {
		return errors.New("the registry of the Windows that was applied does not say which of its control sets it starts with")
	}
	set, err := strconv.ParseUint(m[1], 0, 16)
	if err != nil {
		return err
	}
	return o.regAdd(ctx, fmt.Sprintf(`%s\%s\Services\%s`, loadedHive, controlSet(set), Name))
}

var regNumber = regexp.MustCompile(`REG_DWORD\s+(0x[0-9a-fA-F]+)`)

func controlSet(n uint64) string { return fmt.Sprintf("ControlSet%03d", n) }

// regAdd makes the service's key by reg.exe.
func (o *Options) regAdd(ctx context.Context, key string) error {
	for _, v := range service() {
		text := v.text
		if v.kind == regBinary {
			text = hex.EncodeToString(v.data)
		}
		if err := o.must(ctx, "", "reg", "add", key, "/v", v.name, "/t", v.kind, "/d", text, "/f"); err != nil {
			return err
		}
	}
	return nil
}

// editHive adds the service in Linux, by hivexsh, which edits hives in their place.
func (o *Options) editHive(ctx context.Context, hive string) error {
	said, err := o.run(ctx, "cd \\Select\nlsval Default\n", "hivexsh", hive)
	if err != nil {
		return err
	}
	set, err := strconv.ParseUint(strings.TrimSpace(said), 0, 16)
	if err != nil {
		return fmt.Errorf("the registry of the Windows that was applied says %q of the control set that it starts with", said)
	}
	services := "cd \\" + controlSet(set) + "\\Services\n"
	// It ends with 1 where there is no such key.
	known, err := o.Programs.Run(ctx, machine.Program{Args: []string{"hivexsh", hive}, Input: strings.NewReader(services + "cd " + Name + "\n")})
	if err != nil {
		return err
	}
	return o.must(ctx, hiveScript(services, known.Code == 0), "hivexsh", "-w", hive)
}

// hiveScript is what hivexsh does: setval takes, for each value, its name and then
// its type and contents in a line each.
func hiveScript(services string, known bool) string {
	var b strings.Builder
	b.WriteString(services)
	if !known {
		b.WriteString("add " + Name + "\n")
	}
	list := service()
	fmt.Fprintf(&b, "cd %s\nsetval %d\n", Name, len(list))
	for _, v := range list {
		b.WriteString(v.name + "\n")
		switch v.kind {
		case regDword:
			b.WriteString("dword:" + v.text)
		case regExpand:
			b.WriteString("expandstring:" + v.text)
		case regBinary:
			b.WriteString("hex:3:")
			for i, c := range v.data {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%02x", c)
			}
		default:
			b.WriteString("string:" + v.text)
		}
		b.WriteByte('\n')
	}
	b.WriteString("commit\n")
	return b.String()
}

// run runs a program that has to end with code 0, and returns what it printed.
func (o *Options) run(ctx context.Context, input string, args ...string) (string, error) {
	p := machine.Program{Args: args}
	if input != "" {
		p.Input = strings.NewReader(input)
	}
	r, err := o.Programs.Run(ctx, p)
	if err == nil && r.Code != 0 {
		err = &machine.ExitError{Program: args[0], Code: r.Code, Tail: r.Tail}
	}
	return r.Tail, err
}

func (o *Options) must(ctx context.Context, input string, args ...string) error {
	_, err := o.run(ctx, input, args...)
	return err
}
