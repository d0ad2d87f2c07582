// Package terminal writes what commands print: tables that fit the terminal, whatever the
// script of their cells, progress, and JSON for programs.
package terminal
