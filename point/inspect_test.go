package point

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/content"
	"castpoint/content/library"
	"castpoint/internal/confine"
)

// TestInspectionIsApart: a file whose inspection meets a limit is refused, and nothing of
// it is in the library.
func TestInspectionIsApart(t *testing.T) {
	open := func(limits confine.Limits) *library.Library {
		l, err := library.OpenOptions(t.TempDir(), library.Options{Reserve: -1, Trial: inspectApart(limits)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	wim := makeWIM(t, 100_000)
	l := open(inspectLimits())
	for kind, path := range map[content.Kind]string{content.KindOSImage: wim, content.KindBootImage: makeWinPE(t), content.KindPackage: folder(t, "castpoint")} {
		if _, err := l.Add(t.Context(), content.AddRequest{Kind: kind, Path: path, Name: string(kind)}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// What is wrong with a file is said as ever.
	bad := filepath.Join(t.TempDir(), "bad.wim")
	if err := os.WriteFile(bad, []byte("MSWIM and then nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(t.Context(), content.AddRequest{Kind: content.KindOSImage, Path: bad}); !errors.Is(err, content.ErrFile) {
		t.Error(err)
	}

	slow := open(confine.Limits{Memory: confine.MinMemory, CPU: time.Second, Time: time.Microsecond})
	_, err := slow.Add(t.Context(), content.AddRequest{Kind: content.KindOSImage, Path: wim, Name: "x"})
	if !errors.Is(err, content.ErrFile) || !strings.Contains(err.Error(), "made to do harm") || !strings.Contains(err.Error(), wim) {
		t.Error(err)
	}
	if list, err := slow.List(); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestTextsAreBounded: the texts that the API takes are read in this process, and none of
// them takes long, whatever it is: their length is bounded, and so is what is made of it.
func TestTextsAreBounded(t *testing.T) {
	p := newAPIPoint(t, t.TempDir(), "")
	var bomb strings.Builder
	bomb.WriteString("name: bomb\nvariables:\n  a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < 30; i++ {
		last := string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		if i == 1 {
			last = "0"
		}
		this := string(rune('0'+i/10)) + string(rune('0'+i%10))
		bomb.WriteString("  a" + this + ": &a" + this + " [" + strings.Repeat("*a"+last+", ", 9) + "*a" + last + "]\n")
	}
	bomb.WriteString("steps: []\n")
	deep := strings.Repeat("[", 200_000)
	for what, r := range map[string]request{
		"YAML that grows":        {method: http.MethodPost, path: "/sequences/check", kind: "application/yaml", body: []byte(bomb.String())},
		"YAML that is deep":      {method: http.MethodPost, path: "/sequences/check", kind: "application/yaml", body: []byte("steps: " + deep)},
		"a table of commas":      {method: http.MethodPost, path: "/devices/import", kind: "text/csv", body: append([]byte("name,mac\n"), bytes.Repeat([]byte(","), 31<<20)...)},
		"a table of wide lines":  {method: http.MethodPost, path: "/devices/import", kind: "text/csv", body: append([]byte("name,mac\n"), bytes.Repeat([]byte(strings.Repeat(",", 60_000)+"\n"), 500)...)},
		"a table of empty lines": {method: http.MethodPost, path: "/devices/import", kind: "text/csv", body: append([]byte("name,mac\n"), bytes.Repeat([]byte(",\n"), 15<<20)...)},
		"JSON that is deep":      {method: http.MethodPost, path: "/explain", kind: "application/json", body: []byte(`{"mac":` + deep)},
		"a rule that is long":    {method: http.MethodPost, path: "/collections", kind: "application/json", body: []byte(`{"name":"x","rules":[{"model":"` + strings.Repeat("*a", 100_000) + `"}]}`)},
	} {
		began := time.Now()
		res := p.send(t.Context(), t, r, p.adminToken)
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode >= 500 || res.StatusCode == http.StatusOK && r.path != "/sequences/check" {
			t.Errorf("%s: %d %.200s, %v", what, res.StatusCode, b, err)
		}
		t.Logf("%s: %d after %s, %d bytes", what, res.StatusCode, time.Since(began), len(b))
		if took := time.Since(began); took > time.Minute || len(b) > 1<<20 {
			t.Errorf("%s: %s, %d bytes of an answer", what, took, len(b))
		}
	}
}
