package condition

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/parser/lexer"
)

// both evaluates one and then the other.
func both(f *frame, a, b eval) (any, any, error) {
	x, err := a(f)
	if err != nil {
		return nil, nil, err
	}
	y, err := b(f)
	return x, y, err
}

func negate(n *node) *node {
	return &node{is: typ{kind: boolean}, at: n.at, eval: func(f *frame) (any, error) {
		v, err := n.eval(f)
		if err != nil {
			return nil, err
		}
		return !v.(bool), nil
	}}
}

func minus(n *node) *node {
	return &node{is: n.is, at: n.at, eval: func(f *frame) (any, error) {
		v, err := n.eval(f)
		if err != nil {
			return nil, err
		}
		if i, ok := v.(int); ok {
			return -i, nil
		}
		return -v.(float64), nil
	}}
}

// binary is an operator between two values.
func (p *parser) binary(operator lexer.Token, a, b *node) (*node, error) {
	misfit := func() error {
		return p.wrong(operator.From, "%s between %s and %s", operator.Value, a.is, b.is)
	}
	n := &node{is: typ{kind: boolean}, at: a.at}
	// then makes n of a function of both values.
	then := func(of func(x, y any) (any, error)) (*node, error) {
		n.eval = func(f *frame) (any, error) {
			x, y, err := both(f, a.eval, b.eval)
			if err != nil {
				return nil, err
			}
			return of(x, y)
		}
		return n, nil
	}
	texts, numbers := a.is.kind == text && b.is.kind == text, a.is.number() && b.is.number()
	switch operator.Value {
	case "and", "&&", "or", "||":
		if a.is.kind != boolean || b.is.kind != boolean {
			return nil, misfit()
		}
		enough := operator.Value == "or" || operator.Value == "||" // the value that ends it
		n.eval = func(f *frame) (any, error) {
			v, err := a.eval(f)
			if err != nil || v.(bool) == enough {
				return v, err
			}
			return b.eval(f)
		}
		return n, nil
	case "==", "!=":
		if !a.is.comparable(b.is) {
			return nil, misfit()
		}
		want := operator.Value == "=="
		return then(func(x, y any) (any, error) { return equal(x, y) == want, nil })
	case "in":
		switch {
		case b.is.kind == dict && a.is.kind == text:
			return then(func(x, y any) (any, error) {
				_, ok := y.(reflect.Value).Interface().(map[string]string)[x.(string)]
				return ok, nil
			})
		case b.is.kind == list && (b.is.element == nil || a.is.comparable(*b.is.element)):
			return then(func(x, y any) (any, error) {
				for i := range length(y) {
					if equal(x, element(y, i)) {
						return true, nil
					}
				}
				return false, nil
			})
		}
		return nil, misfit()
	case "contains", "startsWith", "endsWith":
		if !texts {
			return nil, misfit()
		}
		of := map[string]func(string, string) bool{"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}[operator.Value]
		return then(func(x, y any) (any, error) { return of(x.(string), y.(string)), nil })
	case "matches":
		if !texts {
			return nil, misfit()
		}
		return p.matches(n, b, then)
	case "<", ">", "<=", ">=":
		if !texts && !numbers {
			return nil, misfit()
		}
		return then(func(x, y any) (any, error) { return compare(operator.Value, x, y), nil })
	}
	switch {
	case operator.Value == "+" && texts:
		n.is.kind = text
		return then(func(x, y any) (any, error) { return x.(string) + y.(string), nil })
	case !numbers || operator.Value == "%" && (a.is.kind == decimal || b.is.kind == decimal):
		return nil, misfit()
	case operator.Value == "/" || a.is.kind == decimal || b.is.kind == decimal:
		n.is.kind = decimal
		return then(func(x, y any) (any, error) { return floats(operator.Value, float(x), float(y)), nil })
	}
	n.is.kind = integer
	return then(func(x, y any) (any, error) { return integers(operator.Value, x.(int), y.(int)) })
}

// matches compares with a regular expression, which is compiled at once where it is
// written out.
func (p *parser) matches(n, pattern *node, then func(func(x, y any) (any, error)) (*node, error)) (*node, error) {
	if pattern.constant == nil {
		return then(func(x, y any) (any, error) { return regexp.MatchString(y.(string), x.(string)) })
	}
	re, err := regexp.Compile(*pattern.constant)
	if err != nil {
		return nil, p.wrong(n.at, "%v", err)
	}
	return then(func(x, _ any) (any, error) { return re.MatchString(x.(string)), nil })
}

func compare(operator string, x, y any) bool {
	if a, ok := x.(string); ok {
		return ordered(operator, a, y.(string))
	}
	if a, ok := x.(int); ok {
		if b, ok := y.(int); ok {
			return ordered(operator, a, b)
		}
	}
	return ordered(operator, float(x), float(y))
}

func ordered[T int | float64 | string](operator string, a, b T) bool {
	switch operator {
	case "<":
		return a < b
	case ">":
		return a > b
	case "<=":
		return a <= b
	default:
		return a >= b
	}
}

func floats(operator string, a, b float64) float64 {
	switch operator {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	default:
		return a / b
	}
}

func integers(operator string, a, b int) (any, error) {
	switch operator {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	}
	if b == 0 {
		return nil, errors.New("division by zero")
	}
	return a % b, nil
}

// arguments reads what is between brackets.
func (p *parser) arguments() (all []*node, err error) {
	p.take() // (
	for !p.took(lexer.Bracket, ")") {
		if len(all) > 0 && !p.took(lexer.Operator, ",") {
			return nil, p.unexpected(", or )")
		}
		if len(all) > 0 && p.took(lexer.Bracket, ")") {
			break
		}
		one, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// call is that of a function of the scope, all of whose arguments are texts.
func (p *parser) call(name lexer.Token, i int, is typ) (*node, error) {
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if want := is.of.NumIn(); len(args) != want {
		return nil, p.wrong(name.From, "%s wants %d texts, and has %d arguments", name.Value, want, len(args))
	}
	for _, one := range args {
		if one.is.kind != text {
			return nil, p.wrong(one.at, "%s wants a text, and this is %s", name.Value, one.is)
		}
	}
	return &node{is: typ{kind: boolean}, at: name.From, eval: func(f *frame) (any, error) {
		said := make([]string, len(args))
		for i, one := range args {
			v, err := one.eval(f)
			if err != nil {
				return nil, err
			}
			said[i] = v.(string)
		}
		switch function := f.scope.Field(i).Interface().(type) {
		case tests:
			return function(said[0]), nil
		case asks:
			return function(said[0])
		case relate:
			return function(said[0], said[1]), nil
		}
		return nil, fmt.Errorf("%s is no function", name.Value)
	}}, nil
}

// The functions that every scope has.
const (
	overLists  = "any, all, none, one, count"
	overValues = "len, lower, upper, trim, int, float"
)

func (p *parser) builtin(name lexer.Token) (*node, error) {
	switch name.Value {
	case "any", "all", "none", "one", "count":
		return p.quantifier(name)
	case "len", "lower", "upper", "trim", "int", "float":
	default:
		return nil, p.wrong(name.From, "there is no function %s; there are %s, %s", name.Value, overLists, overValues)
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if len(args) != 1 {
		return nil, p.wrong(name.From, "%s wants one argument, and has %d", name.Value, len(args))
	}
	arg := args[0]
	n := &node{at: name.From}
	of := func(*frame, any) (any, error) { return nil, nil }
	switch k := arg.is.kind; {
	case name.Value == "len" && k == text:
		n.is.kind, of = integer, func(_ *frame, v any) (any, error) { return utf8.RuneCountInString(v.(string)), nil }
	case name.Value == "len" && (k == list || k == dict):
		n.is.kind, of = integer, func(_ *frame, v any) (any, error) { return length(v), nil }
	case (name.Value == "lower" || name.Value == "upper" || name.Value == "trim") && k == text:
		change := map[string]func(string) string{"lower": strings.ToLower, "upper": strings.ToUpper, "trim": strings.TrimSpace}[name.Value]
		n.is.kind, of = text, func(_ *frame, v any) (any, error) { return change(v.(string)), nil }
	case name.Value == "int" && (k == text || arg.is.number()):
		n.is.kind, of = integer, func(_ *frame, v any) (any, error) { return toInteger(v) }
	case name.Value == "float" && (k == text || arg.is.number()):
		n.is.kind, of = decimal, func(_ *frame, v any) (any, error) { return toDecimal(v) }
	default:
		return nil, p.wrong(arg.at, "%s does not take %s", name.Value, arg.is)
	}
	n.eval = func(f *frame) (any, error) {
		v, err := arg.eval(f)
		if err != nil {
			return nil, err
		}
		return of(f, v)
	}
	return n, nil
}

func toInteger(v any) (any, error) {
	switch v := v.(type) {
	case string:
		i, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", v)
		}
		return i, nil
	case float64:
		return int(v), nil
	}
	return v, nil
}

func toDecimal(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return float(v), nil
	}
	d, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number", s)
	}
	return d, nil
}

// quantifier reads any(LIST, CONDITION) and its like. In the condition # is an element
// of the list, and .NAME a part of it.
func (p *parser) quantifier(name lexer.Token) (*node, error) {
	p.take() // (
	over, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if over.is.kind != list || over.is.element == nil {
		return nil, p.wrong(over.at, "%s goes through a list, and this is %s", name.Value, over.is)
	}
	if !p.took(lexer.Operator, ",") {
		return nil, p.unexpected(", and a condition")
	}
	braced := p.took(lexer.Bracket, "{")
	outer := p.element
	p.element = over.is.element
	condition, err := p.expression(0)
	p.element = outer
	if err != nil {
		return nil, err
	}
	if braced && !p.took(lexer.Bracket, "}") {
		return nil, p.unexpected("}")
	}
	p.took(lexer.Operator, ",")
	if !p.took(lexer.Bracket, ")") {
		return nil, p.unexpected(")")
	}
	if condition.is.kind != boolean {
		return nil, p.wrong(condition.at, "%s wants what is true or false, and this is %s", name.Value, condition.is)
	}
	n := &node{is: typ{kind: boolean}, at: name.From}
	if name.Value == "count" {
		n.is.kind = integer
	}
	n.eval = func(f *frame) (any, error) {
		v, err := over.eval(f)
		if err != nil {
			return nil, err
		}
		return quantify(name.Value, f, v, condition.eval)
	}
	return n, nil
}

func quantify(name string, f *frame, over any, condition eval) (any, error) {
	count := 0
	for i := range length(over) {
		if *f.left--; *f.left < 0 {
			return nil, fmt.Errorf("%s goes through lists within lists, of more than %d elements in all", name, maxElements)
		}
		v, err := condition(&frame{scope: f.scope, element: element(over, i), left: f.left})
		if err != nil {
			return nil, err
		}
		is := v.(bool)
		switch {
		case is && name == "any":
			return true, nil
		case is && name == "none", !is && name == "all":
			return false, nil
		}
		if is {
			count++
		}
	}
	switch name {
	case "any":
		return false, nil
	case "all", "none":
		return true, nil
	case "one":
		return count == 1, nil
	}
	return count, nil
}
