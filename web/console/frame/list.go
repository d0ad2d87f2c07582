package frame

import (
	"net/http"
	"strconv"
)

// Part is a part of a list that is too long for one page.
type Part[T any] struct {
	Items       []T
	First, Last int // numbers of the first and last of them, from 1
	Total       int
	Prev, Next  string // addresses of the parts before and behind, "" for none
}

// fieldPart is the parameter that chooses a part, from 1.
const fieldPart = "page"

// Cut gives the part of a list that a request asks for, with at most size items.
// A number behind the end gives the last part: the list may have become shorter
// since somebody opened it.
func Cut[T any](r *http.Request, all []T, size int) Part[T] {
	n, err := strconv.Atoi(r.URL.Query().Get(fieldPart))
	if err != nil || n < 1 {
		n = 1
	}
	n = min(n, max(1, (len(all)+size-1)/size))
	from, to := (n-1)*size, min(n*size, len(all))
	p := Part[T]{Items: all[from:to], First: from + 1, Last: to, Total: len(all)}
	address := func(n int) string {
		q := r.URL.Query()
		q.Set(fieldPart, strconv.Itoa(n))
		return r.URL.Path + "?" + q.Encode()
	}
	if n > 1 {
		p.Prev = address(n - 1)
	}
	if to < len(all) {
		p.Next = address(n + 1)
	}
	return p
}
