package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"castpoint/internal/lab"
)

// screenRedraw is how often the screens of machines are drawn.
const screenRedraw = 500 * time.Millisecond

// screens shows the consoles of machines: under each other on a terminal, which is
// drawn again and again, and else line by line.
type screens struct {
	out      io.Writer
	terminal *os.File // nil for none
	head     []string // lines above them, on a terminal

	mu  sync.Mutex
	vms []*lab.VM
}

func newScreens(out io.Writer, head []string) *screens {
	s := &screens{out: out, head: head}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = f
	}
	return s
}

// echo is what is done with each line of a machine.
func (s *screens) echo(name string) func(line string) {
	if s.terminal != nil {
		return nil
	}
	return func(line string) {
		if line = strings.TrimRight(line, " \r\n"); line == "" {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintf(s.out, "%s: %s\n", name, line)
	}
}

func (s *screens) add(vm *lab.VM) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vms = append(s.vms, vm)
}

// show draws until all machines are off, the server has ended, or ctx ends.
func (s *screens) show(ctx context.Context, server *lab.Process) error {
	tick := time.NewTicker(screenRedraw)
	defer tick.Stop()
	for {
		s.draw()
		on := 0
		for _, vm := range s.vms {
			select {
			case <-vm.Done():
			default:
				on++
			}
		}
		if on == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-server.Done():
			return fmt.Errorf("castpoint serve in the lab has ended: %s", server.Output.Tail(10))
		case <-tick.C:
		}
	}
}

// draw fills the terminal with the last lines of each machine.
func (s *screens) draw() {
	if s.terminal == nil {
		return
	}
	width, height, err := term.GetSize(int(s.terminal.Fd()))
	if err != nil || len(s.vms) == 0 {
		return
	}
	room := max(2, (height-1-len(s.head))/len(s.vms)-1)
	var b strings.Builder
	b.WriteString("\x1b[H") // to the top
	for _, line := range s.head {
		b.WriteString(cut(line, width) + "\x1b[K\n")
	}
	for _, vm := range s.vms {
		state := "on"
		select {
		case <-vm.Done():
			state = "off"
		default:
		}
		title := fmt.Sprintf("── %s  %s  %s ", vm.Name, vm.MAC, state)
		b.WriteString(title + strings.Repeat("─", max(0, width-len([]rune(title)))) + "\x1b[K\n")
		lines := strings.Split(vm.Output.Tail(room), "\n")
		for i := range room {
			if i < len(lines) {
				b.WriteString(cut(lines[i], width))
			}
			b.WriteString("\x1b[K\n")
		}
	}
	b.WriteString("\x1b[J") // nothing below
	_, _ = io.WriteString(s.terminal, b.String())
}

// cut shortens a line to a width in characters.
func cut(line string, width int) string {
	if r := []rune(line); len(r) > width {
		return string(r[:width])
	}
	return line
}
