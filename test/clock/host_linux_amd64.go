package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Host is the clock of one running program, which another one sets. It is for programs
// in Go: they read the clock with a function that the kernel maps into each process
// (vdso(7)), and that function is replaced. Programs that it starts have the clock of
// the machine, and so have the times of files.
type Host struct {
	mem   *os.File // the program's memory
	word  int64    // address of the seconds that its clock is ahead, 8 bytes
	ahead time.Duration
}

// Start starts cmd in place of cmd.Start, with a clock that is ahead of this machine's by
// whole seconds, or behind it. program is the file whose clock that is: cmd may execute
// others in its place first, as ip netns exec does. The caller waits for cmd, and closes
// the Host.
func Start(cmd *exec.Cmd, program string, ahead time.Duration) (*Host, error) {
	want, err := os.Stat(program)
	if err != nil {
		return nil, fmt.Errorf("start with a clock of its own: %w", err)
	}
	// The thread that starts a program is the one that may trace it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h, err := take(cmd.Process.Pid, want, ahead)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("give %s a clock of its own: %w", program, err)
	}
	return h, nil
}

// take waits until the process has become the wanted program and replaces its clock
// before its first instruction.
func take(pid int, want os.FileInfo, ahead time.Duration) (*Host, error) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, os.NewSyscallError("wait4", err)
		case !status.Stopped():
			return nil, errors.New("it ended before it began")
		}
		pass := int(status.StopSignal())
		if status.StopSignal() == syscall.SIGTRAP { // it has just executed a program
			pass = 0
			is, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
			if err != nil {
				return nil, err
			}
			if os.SameFile(is, want) {
				break
			}
		}
		if err := syscall.PtraceCont(pid, pass); err != nil {
			return nil, os.NewSyscallError("ptrace", err)
		}
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	h := &Host{mem: mem}
	if err = h.replace(pid); err == nil {
		err = h.Set(ahead)
	}
	if err == nil {
		err = os.NewSyscallError("ptrace", syscall.PtraceDetach(pid))
	}
	if err != nil {
		_ = mem.Close()
		return nil, err
	}
	return h, nil
}

// replace puts own functions in the place of those that Go programs read the time with
// (runtime/vdso_linux_amd64.go).
func (h *Host) replace(pid int) error {
	base, image, err := h.vdso(pid)
	if err != nil {
		return err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD {
			base += int64(p.Off) - int64(p.Vaddr)
			break
		}
	}
	put := func(name string, code func(at int64) []byte) error {
		for _, s := range symbols {
			if s.Name != name {
				continue
			}
			at := base + int64(s.Value)
			c := code(at)
			if uint64(len(c)) > s.Size {
				return fmt.Errorf("%s of the vDSO has %d bytes, and %d are needed", name, s.Size, len(c))
			}
			_, err := h.mem.WriteAt(c, at)
			return err
		}
		return fmt.Errorf("the vDSO has no %s", name)
	}
	return errors.Join(
		put("__vdso_clock_gettime", func(at int64) []byte {
			code := []byte{
				0xb8, 228, 0, 0, 0, // mov $SYS_clock_gettime, %eax
				0x0f, 0x05, // syscall
				0x85, 0xc0, // test %eax, %eax
				0x75, 14, // jnz ret
				0x85, 0xff, // test %edi, %edi; CLOCK_REALTIME is 0
				0x75, 10, // jnz ret
				0x48, 0x8b, 0x0d, 4, 0, 0, 0, // mov word(%rip), %rcx
				0x48, 0x01, 0x0e, // add %rcx, (%rsi): tv_sec
				0xc3, // ret
			}
			for (at+int64(len(code)))%8 != 0 { // the word is written at once
				code = append(code, 0x90)
			}
			h.word = at + int64(len(code))
			binary.LittleEndian.PutUint32(code[18:], uint32(h.word-at-22))
			return append(code, make([]byte, 8)...)
		}),
		put("__vdso_gettimeofday", func(at int64) []byte {
			code := []byte{
				0xb8, 96, 0, 0, 0, // mov $SYS_gettimeofday, %eax
				0x0f, 0x05, // syscall
				0x85, 0xc0, // test %eax, %eax
				0x75, 15, // jnz ret
				0x48, 0x85, 0xff, // test %rdi, %rdi
				0x74, 10, // jz ret
				0x48, 0x8b, 0x0d, 0, 0, 0, 0, // mov word(%rip), %rcx
				0x48, 0x01, 0x0f, // add %rcx, (%rdi): tv_sec
				0xc3, // ret
			}
			binary.LittleEndian.PutUint32(code[19:], uint32(h.word-at-23))
			return code
		}),
	)
}

// vdso is where the kernel's functions lie in the process, and their bytes.
func (h *Host) vdso(pid int) (base int64, image []byte, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &base, &end); err != nil {
			return 0, nil, fmt.Errorf("read %q: %w", line, err)
		}
		image = make([]byte, end-base)
		_, err := h.mem.ReadAt(image, base)
		return base, image, err
	}
	return 0, nil, errors.New("the kernel maps no vDSO")
}

// Set sets the clock: it is ahead of the machine's by that from now on, in whole seconds.
func (h *Host) Set(ahead time.Duration) error {
	ahead = ahead.Truncate(time.Second)
	if _, err := h.mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(ahead/time.Second)), h.word); err != nil {
		return fmt.Errorf("set the clock of a program: %w", err)
	}
	h.ahead = ahead
	return nil
}

// Ahead is by how much the clock is ahead of the machine's.
func (h *Host) Ahead() time.Duration { return h.ahead }

// Close lets go of the program; its clock stays as it is.
func (h *Host) Close() error { return h.mem.Close() }
