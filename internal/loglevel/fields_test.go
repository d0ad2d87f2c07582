package loglevel

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Messages of the log are constant, and its fields are those of the table in
// docs/operations.md: what is said of one thing is found by one name in all rooms.
func TestFieldsAreDocumented(t *testing.T) {
	root := "../.."
	known := documented(t, root)
	used := map[string]bool{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); name == "bin" || name == "test" || name != ".." && name != "." && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		faults, keys := inspect(file, known)
		for _, f := range faults {
			t.Errorf("%s: %s", fset.Position(f.at), f.text)
		}
		for _, key := range keys {
			used[key] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if !used[name] {
			t.Errorf("docs/operations.md has a field %s that nobody writes", name)
		}
	}
	if len(used) < 20 {
		t.Errorf("only %d fields are found: is the tree read at all?", len(used))
	}
}

// documented are the fields of the table.
func documented(t *testing.T, root string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| field | is |")
	if !ok {
		t.Fatal("docs/operations.md has no table of fields")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	known := map[string]bool{}
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(cell, -1) {
			known[m[1]] = true
		}
	}
	return known
}

type fault struct {
	at   token.Pos
	text string
}

// levels are the methods of a logger, and which argument is the message.
var levels = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DPanic": 0, "Panic": 0, "Fatal": 0, "Log": 1, "Check": 1}

// inspect looks at the calls of loggers and of constructors of fields.
func inspect(file *ast.File, known map[string]bool) (faults []fault, keys []string) {
	imports := false
	for _, i := range file.Imports {
		imports = imports || strings.HasPrefix(i.Path.Value, `"go.uber.org/zap`)
	}
	if !imports {
		return nil, nil
	}
	key := func(at ast.Expr) {
		name, ok := literal(at)
		switch {
		case !ok:
			faults = append(faults, fault{at.Pos(), "the name of a field is not constant"})
		case !known[name]:
			faults = append(faults, fault{at.Pos(), fmt.Sprintf("field %q is not in the table of docs/operations.md: take one that is, or document it", name)})
		default:
			keys = append(keys, name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		receiver := ""
		switch x := sel.X.(type) {
		case *ast.Ident:
			receiver = x.Name
		case *ast.SelectorExpr:
			receiver = x.Sel.Name
		}
		switch message, isLevel := levels[sel.Sel.Name]; {
		case receiver == "zap" && sel.Sel.Name == "Error":
			keys = append(keys, "error")
			if !known["error"] {
				faults = append(faults, fault{call.Pos(), "field error is not documented"})
			}
		case receiver == "zap" && fieldKinds.MatchString(sel.Sel.Name) && len(call.Args) > 1,
			strings.HasPrefix(sel.Sel.Name, "Add") && receiver == "enc" && len(call.Args) == 2:
			key(call.Args[0])
		case isLevel && (strings.EqualFold(receiver, "log") || receiver == "logger") && len(call.Args) > message:
			if _, ok := literal(call.Args[message]); !ok {
				faults = append(faults, fault{call.Args[message].Pos(), "the message is not constant: what differs belongs into fields"})
			}
		}
		return true
	})
	return faults, keys
}

// fieldKinds are zap's constructors of fields with a name.
var fieldKinds = regexp.MustCompile(`^(Any|Bools?|ByteStrings?|Durationp?|Durations|Float\d+p?|Int(8|16|32|64)?p?|Uint(8|16|32|64)?p?|Strings?|Stringer|Times?|NamedError|Object|Array|Reflect|Binary)$`)

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// The test above finds what it is for.
func TestFieldsOfABadFile(t *testing.T) {
	const text = `package p
import "go.uber.org/zap"
func f(log *zap.Logger, s struct{ log *zap.Logger }, what string) {
	log.Info("job " + what)
	s.log.Warn(what, zap.String("device", what))
	log.Log(zap.InfoLevel, "fine", zap.Int("maschine", 1), zap.Error(nil))
	log.Info("fine", zap.String(what, ""))
}`
	file, err := parser.ParseFile(token.NewFileSet(), "bad.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	faults, keys := inspect(file, map[string]bool{"device": true, "error": true})
	var said []string
	for _, f := range faults {
		said = append(said, f.text)
	}
	all := strings.Join(said, "\n")
	if len(faults) != 4 || strings.Count(all, "the message is not constant") != 2 || !strings.Contains(all, `field "maschine"`) || !strings.Contains(all, "the name of a field is not constant") {
		t.Errorf("%s", all)
	}
	if fmt.Sprint(keys) != "[device error]" {
		t.Errorf("%v", keys)
	}
}
