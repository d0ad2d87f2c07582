package condition

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
)

// facts and scope have a field of every type that there is in those of sequences.
type facts struct {
	Model   string `expr:"model"`
	Memory  int    `expr:"memory"`
	Virtual bool   `expr:"virtual"`
	Disks   []disk `expr:"disks"`
}

type disk struct {
	Size      int      `expr:"size"`
	Bus       string   `expr:"bus"`
	Removable bool     `expr:"removable"`
	Labels    []string `expr:"labels"`
}

type scope struct {
	Vars        map[string]string          `expr:"vars"`
	Device      facts                      `expr:"device"`
	Environment string                     `expr:"environment"`
	Share       float64                    `expr:"share"`
	Exists      func(string) bool          `expr:"exists"`
	WMI         func(string) (bool, error) `expr:"wmi"`
	Like        func(string, string) bool  `expr:"like"`
}

func machine() scope {
	return scope{
		Vars: map[string]string{"Role": "lab", "Count": "12", "in": "x"}, Environment: "linux", Share: 0.5,
		Device: facts{Model: "OptiPlex 7090", Memory: 8192, Virtual: true, Disks: []disk{
			{Size: 500e9, Bus: "nvme", Labels: []string{"a", "b"}}, {Size: 16e9, Bus: "usb", Removable: true},
		}},
		Exists: func(p string) bool { return p == "/there" },
		WMI: func(q string) (bool, error) {
			if q == "" {
				return false, errors.New("no query")
			}
			return len(q)%2 == 0, nil
		},
		Like: func(s, p string) bool { return strings.HasPrefix(s, strings.TrimSuffix(p, "*")) },
	}
}

// hold are expressions and what they are for machine.
var hold = map[string]bool{
	`vars.Role == "lab"`: true, `vars.None == ""`: true, `vars["Role"] in ["x", 'lab',]`: true, `"Role" in vars`: true, `"None" not in vars`: true,
	`vars.in == "x"`: true, `vars.Role + "x" == "labx" && vars.Role < "m"`: true,
	`device.memory >= 4096 and like(device.model, "Opti*")`: true, `device.memory > 8192`: false, `device.memory in [8192, 4096]`: true,
	`exists("/there") and not exists("/gone")`: true, `not (exists("/there") or wmi(""))`: false, `! device.virtual`: false,
	`len(device.disks) == 2 and device.disks[0].size > 64e9 and device.disks[-1].bus == "usb"`: true,
	`any(device.disks, .size > 200e9)`: true, `all(device.disks, {.size > 200e9 or .removable})`: true, `none(device.disks, .bus == "sata")`: true,
	`one(device.disks, #.removable)`: true, `count(device.disks, .size > 1) == 2`: true, `any(device.disks, any(.labels, # == "b"))`: true,
	`environment == "windows"`: false, `device.model matches "^Opti.*90$"`: true, `device.model not contains "x"`: false, `device.model endsWith environment`: false,
	`device.model startsWith ("Opti" + "")`: true, `device.model matches environment + "|Opt"`: true,
	`1 + 2 * 3 - 4 / 2 == 5`: true, `-2 * -3 == 6 and 7 % 4 == 3`: true, `share * 2 == 1 and share < 1`: true, `0x10 + 0b11 + 0o7 + 1_000 == 1026`: true,
	`int(vars.Count) > 11 and float("1.5") == 1.5 and int(2.9) == 2`: true, `lower("AbC") == "abc" and upper(trim(" x ")) == "X" and len("äö") == 2`: true,
	`device.virtual ? vars.Role == "lab" : false`: true, `(device.memory > 1 ? "a" : "b") == "a"`: true, `true != false`: true, `1 == 1.0`: true, `1 in []`: false,
	"`a` == \"a\" // what it is": true, `device.virtual == true or 1 % (device.memory - 8192) == 1`: true,
}

func TestHolds(t *testing.T) {
	for said, want := range hold {
		p, err := Compile(said, reflect.TypeFor[scope]())
		if err != nil {
			t.Errorf("%s: %v", said, err)
			continue
		}
		if got, err := p.Holds(machine()); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", said, got, err, want)
		}
		compare := expr.Env(scope{})
		if q, err := expr.Compile(said, compare, expr.AsBool()); err != nil {
			t.Errorf("expr, on %s: %v", said, err)
		} else if got, err := expr.Run(q, machine()); err != nil || got != want {
			t.Errorf("expr, on %s: %v, %v; want %v", said, got, err, want)
		}
	}
}

func TestRefusesWithAPlace(t *testing.T) {
	for said, why := range map[string]string{
		`device.modell == "x"`: "there is no fact modell; there are model, memory", `vars.Role`: "a text, and not true or false (column 1)", `1 +`: "it ends where a value should follow",
		`unknown()`: "there is no function unknown; there are any", `nothing`: "there is no name nothing; there are vars, device", `device.memory == "x"`: "== between a number and a text (column 15)",
		`vars.None == nil`: `is ""`, `1 < 2 < 3`: "two comparisons in a row", `not 1`: "not wants true or false", `exists`: "wants its arguments in brackets", `exists(1)`: "exists wants a text",
		`like("a")`: "wants 2 texts, and has 1", `"a" matches "("`: "missing closing )", `any(device, true)`: "goes through a list", `any(device.disks, .size)`: "wants what is true or false",
		`.size > 1`: `"." where a value should follow`, `device.memory ? true : false`: "before it", `true ? 1 : "x"`: "one way it is a number, the other way a text", `[1, "x"] == 1`: "in a list of a number",
		`"abc`: "literal not terminated", `true true`: "an operator or the end", `device.disks[0]["x"]`: "cannot be looked up", `device["model"]`: "cannot be looked up", `(true`: ") should follow",
		`filter(device.disks, true)`: "no function filter", `let x = 1; true`: `"let"`, `vars.Role()`: "no function", `99999999999999999999 > 1`: "no number", `1.5 % 2 == 1`: "% between",
		strings.Repeat("(", 200) + "true": "within each other", strings.Repeat(" ", 9000): "longer than",
	} {
		_, err := Compile(said, reflect.TypeFor[scope]())
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v, want %q", said, err, why)
		}
	}
}

// What can only be known when it is evaluated ends in an error, not in a panic.
func TestErrorsWhileEvaluated(t *testing.T) {
	for said, why := range map[string]string{
		`wmi("")`: "no query", `device.disks[2].size > 1`: "there is no number 2 in a list of 2", `device.disks[-3].size > 1`: "no number -3", `1 % (device.memory - 8192) == 0`: "division by zero",
		`int(vars.Role) > 1`: `"lab" is no whole number`, `float("") > 1`: "is no number", `any(device.disks, int(.bus) > 1)`: `"nvme"`, `"x" matches vars.Bad + "("`: "missing closing",
	} {
		p, err := Compile(said, reflect.TypeFor[scope]())
		if err != nil {
			t.Errorf("%s: %v", said, err)
			continue
		}
		if _, err := p.Holds(machine()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", said, err, why)
		}
	}
	p, err := Compile("true", reflect.TypeFor[scope]())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Holds(facts{}); err == nil {
		t.Error("an expression was evaluated for something else than it was made for")
	}
}

// A machine that says it has many disks does not keep the server busy with a condition
// that goes through them again and again.
func TestListsWithinLists(t *testing.T) {
	many := machine()
	for range 64 {
		many.Device.Disks = append(many.Device.Disks, disk{Size: 1})
	}
	nested := func(n int) string {
		return strings.Repeat("all(device.disks, ", n) + ".size > 0" + strings.Repeat(")", n)
	}
	for n, enough := range map[int]bool{1: true, 2: true, 20: false} {
		p, err := Compile(nested(n), reflect.TypeFor[scope]())
		if err != nil {
			t.Fatal(err)
		}
		switch is, err := p.Holds(many); {
		case enough && (err != nil || !is):
			t.Errorf("%d times: %v, %v", n, is, err)
		case !enough && (err == nil || !strings.Contains(err.Error(), "100000 elements")):
			t.Errorf("%d times: %v, %v", n, is, err)
		}
	}
}

// What is an expression here is one of expr, too, and means the same there.
func FuzzAsInExpr(f *testing.F) {
	for said := range hold {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		p, err := Compile(said, reflect.TypeFor[scope]())
		if err != nil {
			return
		}
		got, err := p.Holds(machine())
		if err != nil && strings.Contains(err.Error(), "lists within lists") {
			return // the library has no such limit
		}
		q, theirs := expr.Compile(said, expr.Env(scope{}), expr.AsBool())
		if theirs != nil {
			// The library works some parts out while it compiles.
			if err == nil && !strings.Contains(theirs.Error(), "divide by zero") {
				t.Fatalf("%q is %v here, and no expression there: %v", said, got, theirs)
			}
			return
		}
		result, theirs := expr.Run(q, machine())
		if (err == nil) != (theirs == nil) || err == nil && result != got {
			t.Fatalf("%q is %v, %v here, and %v, %v there", said, got, err, result, theirs)
		}
	})
}
