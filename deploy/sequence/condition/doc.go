// Package condition reads and evaluates the expressions of task sequences: a part of the
// language of github.com/expr-lang/expr, which a test compares it with. What is an
// expression here is one there, and means the same.
//
// It is not that library itself, because the library finds methods by name while it
// runs, so that the linker keeps every method of every type: 3.6 of the 14 MB of an
// agent, which each machine loads over the network before it does anything else. The
// library's lexer does without, and is used.
//
// The names are the fields of a struct with the tag expr. Types are known before
// anything is evaluated: an expression that compiles fails only by what it calls, by an
// index that is not there, a division by zero, a text that is no number, or lists within
// lists that never end.
//
// The order of events is: tokens → parser, which is also the checker → closures.
package condition

import (
	"errors"
	"reflect"
)

// Limits of an expression, far above what people write: the parser calls itself.
const (
	maxText  = 8192 // bytes
	maxDepth = 100  // brackets and operators within each other

	// maxElements is how many elements of lists an evaluation goes through: lists
	// within lists multiply, and a machine may say that it has 64 disks.
	maxElements = 100_000
)

// Program is an expression that is ready to be evaluated, as often as wanted and by
// several at once.
type Program struct {
	eval  eval
	scope reflect.Type
}

// Compile reads an expression that is true or false, with the names of a struct. Errors
// say where in the text.
func Compile(text string, scope reflect.Type) (*Program, error) {
	p, err := newParser(text, scope)
	if err != nil {
		return nil, err
	}
	n, err := p.whole()
	if err != nil {
		return nil, err
	}
	if n.is.kind != boolean {
		return nil, p.wrong(n.at, "it is %s, and not true or false", n.is)
	}
	return &Program{n.eval, scope}, nil
}

// Holds evaluates the expression for a struct of the type that it was compiled for.
func (p *Program) Holds(scope any) (bool, error) {
	v := reflect.ValueOf(scope)
	if v.Type() != p.scope {
		return false, errors.New("the condition was made for " + p.scope.String() + ", and not for " + v.Type().String())
	}
	left := maxElements
	got, err := p.eval(&frame{scope: v, left: &left})
	if err != nil {
		return false, err
	}
	return got.(bool), nil
}

// frame is what an expression is evaluated in.
type frame struct {
	scope   reflect.Value
	element any  // of the list that any, all, none, one or count goes through
	left    *int // of maxElements
}

// eval gives a bool, int, float64, string, or a reflect.Value of a struct, map or slice,
// or []any, by the type of the expression.
type eval func(*frame) (any, error)
