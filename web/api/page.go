package api

import (
	"fmt"
	"sort"
	"strconv"
)

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

// PageQuery says which part of a list is wanted. Requests embed it.
type PageQuery struct {
	After string `query:"after" doc:"next of the page before; left out for the first page"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"the most that is wanted"`
}

// LongQuery is a PageQuery for lists that come whole unless they are very long.
// Requests embed it.
type LongQuery struct {
	After string `query:"after" doc:"next of the page before; left out for the first page"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"10000" doc:"the most that is wanted"`
}

// Place is the key of the element with that place, for lists in an order that is not
// that of names.
func Place(i int) string { return fmt.Sprintf("%08d", i) }

// CutPlaces makes a page of a whole list whose keys are the places in it.
func CutPlaces[T any](all []T, q LongQuery) Page[T] {
	first, _ := strconv.Atoi(q.After) // what is no place is the beginning
	if q.After != "" {
		first++
	}
	first = min(max(0, first), len(all))
	limit := q.Limit
	if limit <= 0 {
		limit = MaxLimit
	}
	last := min(first+limit, len(all))
	p := Page[T]{Items: append([]T{}, all[first:last]...), Total: len(all)}
	if last < len(all) {
		p.Next = Place(last - 1)
	}
	return p
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"in the order of the list"`
	Total int    `json:"total" doc:"in the whole list"`
	Next  string `json:"next,omitempty" doc:"after of the next page; left out on the last"`
}

// Cut makes a page of a whole list, which is in the order of its keys; the keys
// are unique.
func Cut[T any](all []T, key func(*T) string, q PageQuery) Page[T] {
	p := Page[T]{Items: []T{}, Total: len(all)}
	first := 0
	if q.After != "" {
		first = sort.Search(len(all), func(i int) bool { return key(&all[i]) > q.After })
	}
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	last := min(first+limit, len(all))
	p.Items = append(p.Items, all[first:last]...)
	if last < len(all) {
		p.Next = key(&all[last-1])
	}
	return p
}
