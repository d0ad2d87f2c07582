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
)

// namePrefix starts the name of every namespace and scratch directory of a
// lab. The process id of the maker follows, so leftovers can be told.
const namePrefix = "castpoint-lab-"

// removeScript removes the lab whose names start with $1 and whose scratch
// directory is in $2: programs first, because a namespace lives as long as a
// program is in it.
const removeScript = `
for path in /run/netns/"$1"*; do
  [ -e "$path" ] || continue
  name=${path#/run/netns/}
  pids=$(ip netns pids "$name")
  [ -z "$pids" ] || kill -KILL $pids
  ip netns del "$name"
done
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
		name, pid, ok := makerOf(filepath.Base(path))
		if !ok || alive(pid) {
			continue
		}
		if out, err := exec.Command("/bin/sh", "-c", removeScript, "sweep", name, os.TempDir()).CombinedOutput(); err != nil {
			return fmt.Errorf("remove the leftover lab %s: %w: %s", name, err, out)
		}
	}
	return nil
}

// makerOf takes the lab's name and its maker's process id out of the name of a
// namespace or directory: castpoint-lab-PID-N-anything.
func makerOf(file string) (lab string, pid int, ok bool) {
	rest, ok := strings.CutPrefix(file, namePrefix)
	if !ok {
		return "", 0, false
	}
	parts := strings.SplitN(rest, "-", 3)
	if len(parts) < 2 {
		return "", 0, false
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil || pid <= 1 {
		return "", 0, false
	}
	return namePrefix + parts[0] + "-" + parts[1] + "-", pid, true
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
