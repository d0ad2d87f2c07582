package library

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
)

// knownKind refuses kinds that there are not, before anything is asked of a
// server.
func knownKind(k content.Kind) error {
	if slices.Contains(content.Kinds(), k) {
		return nil
	}
	var names []string
	for _, k := range content.Kinds() {
		names = append(names, string(k))
	}
	return command.Usage("kind %q: want %s", k, strings.Join(names, ", "))
}

// knownArch does the same for architectures; "" is to be found out.
func knownArch(arch string) error {
	switch arch {
	case "", "amd64", "arm64", "386", "arm":
		return nil
	}
	return command.Usage("arch %q: want amd64, arm64, 386 or arm", arch)
}

// distributionFlags are the settings that say how a content may travel.
func distributionFlags(f *pflag.FlagSet, d *content.Distribution) {
	f.BoolVar(&d.Multicast, "multicast", false, "it may be sent in multicast sessions")
	f.BoolVar(&d.Encrypt, "encrypt", true, "it must never be sent in the clear (no session is, so far)")
	f.BoolVar(&d.MulticastOnly, "multicast-only", false, "never send it by unicast, not even what multicast did not bring")
	f.Var((*priority)(&d.Priority), "priority", "`low`, medium or high, beside other contents (default medium)")
}

// priority is a content.Priority as a flag.
type priority content.Priority

func (p *priority) String() string { return string(*p) }
func (p *priority) Type() string   { return "low" }
func (p *priority) Set(s string) error {
	switch content.Priority(s) {
	case content.PriorityLow, content.PriorityMedium, content.PriorityHigh:
		*p = priority(s)
		return nil
	}
	return command.Usage("want low, medium or high")
}

// priorityOf is the priority that holds.
func priorityOf(d content.Distribution) string {
	if d.Priority == "" {
		return string(content.PriorityMedium)
	}
	return string(d.Priority)
}

// programFlags are the programs of a package; all of them name a program first.
type programFlags struct {
	commands, folders, success, reboot []string
}

func (p *programFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&p.commands, "program", nil, "`NAME=COMMAND`: a command line of a package; may be repeated")
	f.StringArrayVar(&p.folders, "program-folder", nil, "`NAME=FOLDER` of the package that it runs in (default: its top)")
	f.StringArrayVar(&p.success, "program-success", nil, "`NAME=CODES`: exit codes that mean success, as in install=0,17 (default 0)")
	f.StringArrayVar(&p.reboot, "program-reboot", nil, "`NAME=CODES`: exit codes that mean success and a restart (default 3010,1641)")
}

// changed says whether any of them was given.
func (p *programFlags) changed() bool {
	return len(p.commands)+len(p.folders)+len(p.success)+len(p.reboot) > 0
}

// programs makes the programs that the flags describe out of those that there
// are; programs that no flag names are not among them.
func (p *programFlags) programs(have []content.Program) ([]content.Program, error) {
	var list []content.Program
	// at finds a program, in the list or among those that there are.
	at := func(name string) *content.Program {
		same := func(q content.Program) bool { return strings.EqualFold(q.Name, name) }
		if i := slices.IndexFunc(list, same); i >= 0 {
			return &list[i]
		}
		if i := slices.IndexFunc(have, same); i >= 0 {
			list = append(list, have[i])
			return &list[len(list)-1]
		}
		return nil
	}
	for _, s := range p.commands {
		name, line, ok := strings.Cut(s, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.TrimSpace(line) == "" {
			return nil, command.Usage("program %q: want NAME=COMMAND, as in 'install=setup.exe /S'", s)
		}
		if q := at(name); q != nil {
			q.Command = line
		} else {
			list = append(list, content.Program{Name: name, Command: line})
		}
	}
	for _, f := range []struct {
		flag   string
		values []string
		set    func(q *content.Program, value string) error
	}{
		{"program-folder", p.folders, func(q *content.Program, v string) error { q.Folder = strings.ReplaceAll(v, `\`, "/"); return nil }},
		{"program-success", p.success, func(q *content.Program, v string) (err error) { q.Success, err = exitCodes(v); return err }},
		{"program-reboot", p.reboot, func(q *content.Program, v string) (err error) { q.Reboot, err = exitCodes(v); return err }},
	} {
		for _, s := range f.values {
			name, value, ok := strings.Cut(s, "=")
			if !ok {
				return nil, command.Usage("%s %q: want NAME=VALUE", f.flag, s)
			}
			q := at(strings.TrimSpace(name))
			if q == nil {
				return nil, command.Usage("%s %q: there is no program %q: make it with --program", f.flag, s, name)
			}
			if q.Success == nil && q.Reboot == nil {
				q.Success, q.Reboot = []int{0}, []int{3010, 1641}
			}
			if err := f.set(q, value); err != nil {
				return nil, command.Usage("%s %q: %v", f.flag, s, err)
			}
		}
	}
	return list, nil
}

// exitCodes reads a list of exit codes; Windows has 32 bits of them, with and
// without sign.
func exitCodes(s string) ([]int, error) {
	codes := []int{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		n, err := strconv.ParseInt(part, 0, 64)
		if err != nil || n < -1<<31 || n > 1<<32-1 {
			return nil, command.Usage("%q is not an exit code", part)
		}
		codes = append(codes, int(n))
	}
	return codes, nil
}

// programText is a program in a line.
func programText(p content.Program) string {
	text := p.Command
	if p.Folder != "" {
		text += "  in " + p.Folder
	}
	list := func(codes []int) string {
		var s []string
		for _, c := range codes {
			s = append(s, strconv.Itoa(c))
		}
		return strings.Join(s, ",")
	}
	text += "  (success " + terminal.OrDash(list(p.Success)) + "; restart " + terminal.OrDash(list(p.Reboot)) + ")"
	return text
}
