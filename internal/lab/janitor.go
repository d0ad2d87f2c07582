package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// namePrefix starts the name of every namespace and scratch directory of a
// lab. The process id of the maker and the time at which it was started follow, in
// the kernel's ticks since boot: leftovers can be told, even when another process
// has the id by now.
const namePrefix = "castpoint-lab-"

// removeScript removes the lab whose names start with $1 and whose scratch
// directory is in $2: programs first, because a namespace lives as long as a
// program is in it; then what is mounted in the directory.
const removeScript = `
for path in /run/netns/"$1"*; do
  [ -e "$path" ] || continue
  name=${path#/run/netns/}
  pids=$(ip netns pids "$name")
  [ -z "$pids" ] || kill -KILL $pids
  ip netns del "$name"
done
while read -r device where rest; do
  case $where in "$2/$1"*) umount -l "$where" ;; esac
done </proc/mounts
rm -rf "$2/$1"*
`

// A janitor is a process that waits for the end of its input, then removes a
// lab. The input ends when the lab is closed, and also when its maker dies of a
// panic, a test's time limit or SIGKILL: there is one way to clean up.
type janitor struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	said  strings.Builder // standard error
}

func startJanitor(name string) (*janitor, error) {
	j := &janitor{cmd: exec.Command("/bin/sh", "-c", "cat >/dev/null;"+removeScript, "janitor", name, os.TempDir())}
	j.cmd.Stderr = &j.said
	// Away from the terminal's process group: Ctrl-C must not reach it.
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if j.input, err = j.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the lab's janitor: %w", err)
	}
	if err := j.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the lab's janitor: %w", err)
	}
	return j, nil
}

// clean removes the lab now and waits until it is gone.
func (j *janitor) clean() error {
	if err := j.input.Close(); err != nil {
		return fmt.Errorf("wake the lab's janitor: %w", err)
	}
	if err := j.cmd.Wait(); err != nil {
		return fmt.Errorf("remove the lab: %w: %s", err, strings.TrimSpace(j.said.String()))
	}
	return nil
}

// sweep removes what labs left behind whose maker and janitor are both dead.
func sweep() error {
	var leftovers []string
	for _, pattern := range []string{"/run/netns/" + namePrefix + "*", filepath.Join(os.TempDir(), namePrefix+"*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		leftovers = append(leftovers, found...)
	}
	for _, path := range leftovers {
		name, m, ok := makerOf(filepath.Base(path))
		if !ok || m.alive() {
			continue
		}
		if out, err := exec.Command("/bin/sh", "-c", removeScript, "sweep", name, os.TempDir()).CombinedOutput(); err != nil {
			return fmt.Errorf("remove the leftover lab %s: %w: %s", name, err, out)
		}
	}
	return nil
}

// maker is the process that made a lab.
type maker struct {
	pid     int
	started uint64 // kernel's ticks since boot
}

func (m maker) String() string { return fmt.Sprintf("%d.%d", m.pid, m.started) }

// makerOf takes the lab's name and its maker out of the name of a namespace or
// directory: castpoint-lab-PID.STARTED-N-anything.
func makerOf(file string) (lab string, m maker, ok bool) {
	rest, ok := strings.CutPrefix(file, namePrefix)
	if !ok {
		return "", m, false
	}
	parts := strings.SplitN(rest, "-", 3)
	if len(parts) < 2 {
		return "", m, false
	}
	pid, started, ok := strings.Cut(parts[0], ".")
	if !ok {
		return "", m, false
	}
	var errs [2]error
	m.pid, errs[0] = strconv.Atoi(pid)
	m.started, errs[1] = strconv.ParseUint(started, 10, 64)
	if errors.Join(errs[:]...) != nil || m.pid <= 1 {
		return "", maker{}, false
	}
	return namePrefix + parts[0] + "-" + parts[1] + "-", m, true
}

// alive says whether the process still runs: it, and not another with its id.
func (m maker) alive() bool {
	started, err := startOf(m.pid)
	return err == nil && started == m.started
}

// ticks is how many of the kernel's ticks a second has for programs (USER_HZ), on every
// architecture that Go knows.
const ticks = 100

// when is the time at which it was started; zero when the kernel does not say.
func (m maker) when() time.Time {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}
	}
	ran := time.Duration(up.Nano()) - time.Duration(m.started)*time.Second/ticks
	return time.Now().Add(-ran).Truncate(time.Second)
}

// startOf is when a process was started, in the kernel's ticks since boot: the 22nd
// field of proc_pid_stat(5). Its name, the second, is in parentheses and may hold
// anything.
func startOf(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const state, started = 3, 22
	if len(fields) <= started-state {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	if fields[0] == "Z" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[started-state], 10, 64)
}
