package condition

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
)

// node is a part of an expression that was read: its type, its meaning, its place.
type node struct {
	is   typ
	eval eval
	at   int // column, from 0

	constant *string // of a text that is written out
}

// parser reads an expression by precedence climbing.
type parser struct {
	tokens  []lexer.Token
	scope   reflect.Type
	element *typ // within any, all, none, one and count
	depth   int
}

func newParser(text string, scope reflect.Type) (*parser, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("it is longer than %d bytes", maxText)
	}
	tokens, err := lexer.Lex(file.NewSource(text))
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s", first)
	}
	return &parser{tokens: tokens, scope: scope}, nil
}

func (p *parser) wrong(at int, format string, args ...any) error {
	return fmt.Errorf(format+" (column %d)", append(args, at+1)...)
}

// next is the token that comes; the last one is EOF.
func (p *parser) next() lexer.Token {
	if len(p.tokens) == 0 {
		return lexer.Token{Kind: lexer.EOF}
	}
	return p.tokens[0]
}

func (p *parser) take() lexer.Token {
	t := p.next()
	if len(p.tokens) > 1 {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) took(kind lexer.Kind, value string) bool {
	if p.next().Is(kind, value) {
		p.take()
		return true
	}
	return false
}

func (p *parser) unexpected(want string) error {
	t := p.next()
	if t.Kind == lexer.EOF {
		return p.wrong(t.From, "it ends where %s should follow", want)
	}
	return p.wrong(t.From, "%q where %s should follow", t.Value, want)
}

func (p *parser) whole() (*node, error) {
	n, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.next().Kind != lexer.EOF {
		return nil, p.unexpected("an operator or the end")
	}
	return n, nil
}

// How strongly operators bind, as in expr.
const (
	bindsOr      = 10
	bindsAnd     = 15
	bindsCompare = 20
	bindsSum     = 30
	bindsNot     = 50
	bindsProduct = 60
	bindsSign    = 90
)

func binds(operator string) (int, bool) {
	switch operator {
	case "or", "||":
		return bindsOr, true
	case "and", "&&":
		return bindsAnd, true
	case "==", "!=", "<", ">", "<=", ">=", "in", "matches", "contains", "startsWith", "endsWith":
		return bindsCompare, true
	case "+", "-":
		return bindsSum, true
	case "*", "/", "%":
		return bindsProduct, true
	}
	return 0, false
}

func ordering(operator string) bool {
	return operator == "<" || operator == ">" || operator == "<=" || operator == ">="
}

// expression reads operators that bind as strongly as precedence, or more.
func (p *parser) expression(precedence int) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong(p.next().From, "more than %d brackets and operators within each other", maxDepth)
	}
	defer func() { p.depth-- }()
	left, err := p.primary()
	if err != nil {
		return nil, err
	}
	for before := ""; p.next().Kind == lexer.Operator; {
		operator := p.next()
		negated := operator.Value == "not"
		if negated {
			if len(p.tokens) < 2 {
				return nil, p.unexpected("an operator")
			}
			operator = p.tokens[1]
			switch operator.Value {
			case "in", "matches", "contains", "startsWith", "endsWith":
			default:
				return nil, p.unexpected("an operator")
			}
		}
		strength, ok := binds(operator.Value)
		if !ok || strength < precedence {
			break
		}
		if ordering(operator.Value) && ordering(before) {
			return nil, p.wrong(operator.From, "two comparisons in a row: write a < b and b < c")
		}
		before = operator.Value
		if negated {
			p.take()
		}
		p.take()
		right, err := p.expression(strength + 1)
		if err != nil {
			return nil, err
		}
		if left, err = p.binary(operator, left, right); err != nil {
			return nil, err
		}
		if negated {
			left = negate(left)
		}
	}
	if precedence > 0 {
		return left, nil
	}
	return p.ternary(left)
}

// ternary reads what may follow: ? YES : NO.
func (p *parser) ternary(condition *node) (*node, error) {
	for p.next().Is(lexer.Operator, "?") {
		p.take()
		yes, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if !p.took(lexer.Operator, ":") {
			return nil, p.unexpected(":")
		}
		no, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if condition.is.kind != boolean {
			return nil, p.wrong(condition.at, "? wants true or false before it, and this is %s", condition.is)
		}
		if !yes.is.same(no.is) {
			return nil, p.wrong(no.at, "one way it is %s, the other way %s", yes.is, no.is)
		}
		asked := condition.eval
		condition = &node{is: yes.is, at: condition.at, eval: func(f *frame) (any, error) {
			is, err := asked(f)
			if err != nil {
				return nil, err
			}
			if is.(bool) {
				return yes.eval(f)
			}
			return no.eval(f)
		}}
	}
	return condition, nil
}

// primary reads a value, with signs before it and with what is taken out of it.
func (p *parser) primary() (*node, error) {
	token := p.next()
	if token.Kind == lexer.Operator {
		switch token.Value {
		case "not", "!":
			p.take()
			n, err := p.expression(bindsNot)
			if err != nil {
				return nil, err
			}
			if n.is.kind != boolean {
				return nil, p.wrong(token.From, "not wants true or false, and this is %s", n.is)
			}
			return negate(n), nil
		case "-", "+":
			p.take()
			n, err := p.expression(bindsSign)
			if err != nil {
				return nil, err
			}
			if !n.is.number() {
				return nil, p.wrong(token.From, "%s wants a number, and this is %s", token.Value, n.is)
			}
			if token.Value == "+" {
				return n, nil
			}
			return minus(n), nil
		}
	}
	n, err := p.simple()
	if err != nil {
		return nil, err
	}
	return p.parts(n)
}

func (p *parser) simple() (*node, error) {
	token := p.next()
	switch {
	case token.Kind == lexer.Number:
		p.take()
		return p.number(token)
	case token.Kind == lexer.String:
		p.take()
		n := constant(text, token.Value, token.From)
		n.constant = &token.Value
		return n, nil
	case token.Is(lexer.Bracket, "("):
		p.take()
		n, err := p.expression(0)
		if err == nil && !p.took(lexer.Bracket, ")") {
			err = p.unexpected(")")
		}
		return n, err
	case token.Is(lexer.Bracket, "["):
		p.take()
		return p.list(token.From)
	case token.Kind == lexer.Identifier:
		p.take()
		return p.name(token)
	case token.Is(lexer.Operator, "#") && p.element != nil:
		p.take()
		if p.next().Kind == lexer.Identifier {
			return nil, p.unexpected("an operator")
		}
		return p.thisElement(token.From), nil
	case token.Is(lexer.Operator, ".") && p.element != nil:
		return p.thisElement(token.From), nil // parts reads the name
	}
	return nil, p.unexpected("a value")
}

func (p *parser) thisElement(at int) *node {
	return &node{is: *p.element, at: at, eval: func(f *frame) (any, error) { return f.element, nil }}
}

func constant(k kind, v any, at int) *node {
	return &node{is: typ{kind: k}, at: at, eval: func(*frame) (any, error) { return v, nil }}
}

func (p *parser) number(token lexer.Token) (*node, error) {
	digits := strings.ReplaceAll(strings.ToLower(token.Value), "_", "")
	based := len(digits) > 1 && digits[0] == '0' && strings.IndexByte("xob", digits[1]) >= 0
	if strings.ContainsAny(digits, ".e") && !strings.HasPrefix(digits, "0x") {
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return nil, p.wrong(token.From, "%q is no number", token.Value)
		}
		return constant(decimal, v, token.From), nil
	}
	base := 10
	if based {
		base = 0
	}
	v, err := strconv.ParseInt(digits, base, strconv.IntSize)
	if err != nil {
		return nil, p.wrong(token.From, "%q is no number", token.Value)
	}
	return constant(integer, int(v), token.From), nil
}

// list reads what follows [.
func (p *parser) list(at int) (*node, error) {
	n := &node{is: typ{kind: list}, at: at}
	var members []eval
	for !p.took(lexer.Bracket, "]") {
		if len(members) > 0 && !p.took(lexer.Operator, ",") {
			return nil, p.unexpected(", or ]")
		}
		if len(members) > 0 && p.took(lexer.Bracket, "]") {
			break
		}
		one, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if n.is.element == nil {
			n.is.element = &one.is
		} else if !n.is.element.same(one.is) {
			return nil, p.wrong(one.at, "this is %s, in a list of %s", one.is, n.is.element)
		}
		members = append(members, one.eval)
	}
	n.eval = func(f *frame) (any, error) {
		all := make([]any, len(members))
		for i, one := range members {
			v, err := one(f)
			if err != nil {
				return nil, err
			}
			all[i] = v
		}
		return all, nil
	}
	return n, nil
}

// name reads what an identifier begins.
func (p *parser) name(token lexer.Token) (*node, error) {
	called := p.next().Is(lexer.Bracket, "(")
	switch token.Value {
	case "true", "false":
		return constant(boolean, token.Value == "true", token.From), nil
	case "nil":
		return nil, p.wrong(token.From, `nothing is ever nil: a variable or fact without a value is "", 0 or false`)
	}
	if i, ok := field(p.scope, token.Value); ok {
		is, ok := typeOf(p.scope.Field(i).Type)
		switch {
		case !ok:
			return nil, p.wrong(token.From, "%s is of no use here", token.Value)
		case is.kind == call && !called:
			return nil, p.wrong(token.From, "%s is %s", token.Value, is)
		case is.kind == call:
			return p.call(token, i, is)
		case called:
			return nil, p.wrong(token.From, "%s is no function", token.Value)
		}
		return &node{is: is, at: token.From, eval: func(f *frame) (any, error) { return value(f.scope.Field(i)), nil }}, nil
	}
	if called {
		return p.builtin(token)
	}
	return nil, p.wrong(token.From, "there is no name %s; there are %s", token.Value, strings.Join(names(p.scope), ", "))
}

// parts reads what is taken out of a value: .NAME and [INDEX].
func (p *parser) parts(n *node) (*node, error) {
	for {
		token := p.next()
		switch {
		case token.Is(lexer.Operator, "."):
			p.take()
			name := p.take()
			word := strings.Trim(name.Value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
			if name.Kind != lexer.Identifier && (name.Kind != lexer.Operator || !word || name.Value == "") {
				return nil, p.wrong(token.From, "a name should follow the dot")
			}
			if p.next().Is(lexer.Bracket, "(") {
				return nil, p.wrong(name.From, "%s is no function", name.Value)
			}
			var err error
			if n, err = p.part(n, name); err != nil {
				return nil, err
			}
		case token.Is(lexer.Bracket, "["):
			p.take()
			index, err := p.expression(0)
			if err != nil {
				return nil, err
			}
			if !p.took(lexer.Bracket, "]") {
				return nil, p.unexpected("]")
			}
			if n, err = p.index(n, index); err != nil {
				return nil, err
			}
		default:
			return n, nil
		}
	}
}

func (p *parser) part(n *node, name lexer.Token) (*node, error) {
	whole := n.eval
	switch n.is.kind {
	case dict:
		return entry(n, func(*frame) (any, error) { return name.Value, nil }), nil
	case record:
		i, ok := field(n.is.of, name.Value)
		if !ok {
			return nil, p.wrong(name.From, "there is no fact %s; there are %s", name.Value, strings.Join(names(n.is.of), ", "))
		}
		is, ok := typeOf(n.is.of.Field(i).Type)
		if !ok {
			return nil, p.wrong(name.From, "%s is of no use here", name.Value)
		}
		return &node{is: is, at: name.From, eval: func(f *frame) (any, error) {
			v, err := whole(f)
			if err != nil {
				return nil, err
			}
			return value(v.(reflect.Value).Field(i)), nil
		}}, nil
	}
	return nil, p.wrong(name.From, "%s has no parts with names", n.is)
}

func (p *parser) index(n, index *node) (*node, error) {
	switch {
	case n.is.kind == dict && index.is.kind == text:
		return entry(n, index.eval), nil
	case n.is.kind == list && index.is.kind == integer && n.is.element != nil:
		return &node{is: *n.is.element, at: n.at, eval: func(f *frame) (any, error) {
			v, i, err := both(f, n.eval, index.eval)
			if err != nil {
				return nil, err
			}
			at, count := i.(int), length(v)
			if at < 0 {
				at += count
			}
			if at < 0 || at >= count {
				return nil, fmt.Errorf("there is no number %d in a list of %d", i, count)
			}
			return element(v, at), nil
		}}, nil
	}
	return nil, p.wrong(index.at, "%s cannot be looked up in %s", index.is, n.is)
}

// entry looks a name up in a table of texts; a name that is not there is "".
func entry(n *node, key eval) *node {
	return &node{is: typ{kind: text}, at: n.at, eval: func(f *frame) (any, error) {
		v, k, err := both(f, n.eval, key)
		if err != nil {
			return nil, err
		}
		return v.(reflect.Value).Interface().(map[string]string)[k.(string)], nil
	}}
}
