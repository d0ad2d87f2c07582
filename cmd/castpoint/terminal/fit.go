package terminal

import "strings"

// Widths of tables in characters.
const (
	tableGap  = 2  // between columns
	leastCell = 8  // what a column is shortened to at most
	leastText = 24 // what is worth wrapping
)

// fit makes rows fit a width, 0 for any: in a table of two columns, a name and what is
// said of it, the second is wrapped; in others the widest columns are shortened, but
// never the first, by which things are named.
func fit(rows [][]string, width int) [][]string {
	var wide []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], cellWidth(cell))
		}
	}
	total := tableGap * (len(wide) - 1)
	for _, w := range wide {
		total += w
	}
	switch {
	case width == 0 || total <= width:
		return rows
	case len(wide) == 2:
		return wrapSecond(rows, width-wide[0]-tableGap)
	}
	for total > width {
		widest := 1
		for i := 1; i < len(wide); i++ {
			if wide[i] > wide[widest] {
				widest = i
			}
		}
		if len(wide) < 2 || wide[widest] <= leastCell {
			break
		}
		wide[widest]--
		total--
	}
	out := make([][]string, len(rows))
	for i, row := range rows {
		for n, cell := range row {
			out[i] = append(out[i], cutCell(cell, wide[n]))
		}
	}
	return out
}

// wrapSecond puts what does not fit in the second column below it. Words stay whole:
// addresses and hashes are copied.
func wrapSecond(rows [][]string, width int) [][]string {
	if width < leastText {
		return rows
	}
	var out [][]string
	for _, row := range rows {
		if len(row) < 2 || cellWidth(row[1]) <= width {
			out = append(out, row)
			continue
		}
		name, line := row[0], ""
		for _, word := range strings.Split(row[1], " ") {
			if line != "" && cellWidth(line)+1+cellWidth(word) > width {
				out = append(out, []string{name, line})
				name, line = "", word
				continue
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		out = append(out, []string{name, line})
	}
	return out
}
