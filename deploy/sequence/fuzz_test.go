package sequence

import (
	"testing"
	"time"
)

// FuzzCondition: expressions of people are refused or have an answer, in bounded time.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`device.memory >= 8192`, `vars.Role == "office" && device.model like "OptiPlex*"`, `!(a) || b`, `1/0 == 1`, `"\xff" < ""`,
		`any(device.disks, {.size > 1})`, `all(1..100000000, {# > 0})`, `any(device.disks, any(device.disks, any(device.disks, .size > 1)))`, `"a" matches "(a+)+$"`,
	} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		p, err := Condition{text}.Compile()
		if err != nil {
			return
		}
		began := time.Now()
		_, _, _ = p.Holds(Scope{Vars: map[string]string{"Role": value, "A": "b"}, Device: Facts{Model: value, Memory: 8192}, Last: Outcome{State: value}})
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("%s to answer %q", took, text)
		}
	})
}

// FuzzExtent: a size that was read is written so that it reads the same.
func FuzzExtent(f *testing.F) {
	for _, seed := range []string{"512MiB", "20%", "rest", "1.5 GiB", "-1", "99999999TiB", "1e3", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExtent(text)
		if err != nil {
			return
		}
		if e.Bytes < 0 {
			t.Fatalf("%q is %+v", text, e)
		}
		if again, err := ParseExtent(e.String()); err != nil || again != e {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", text, e, e.String(), again, err)
		}
	})
}
