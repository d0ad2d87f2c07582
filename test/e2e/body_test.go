package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// body is a machine without firmware and without a kernel of its own: the boot
// environment's agent and programs in namespaces, with a file as its disk. It starts
// in half a second, so that many things can happen to it.
//
// Its partitions are loop devices over the disk's file. What the kernel has not
// written to them when the power goes is lost, as on a machine: see powerCut.
type body struct {
	t    *testing.T
	p    *point.Point
	host *lab.Host
	dir  string // of everything that belongs to it
	root string // the boot environment, unpacked
	disk string // file
	// out is called for every line that the agent says; it may not wait. Set before
	// power.
	out func(string)

	agent   *lab.Process
	pid     atomic.Int64 // of its first process; 0 while it is off
	whole   *os.File     // loop device of the disk
	parts   []*os.File   // of its partitions
	asked   *os.File     // the programs in it say here that the disk was divided
	stopped chan struct{}
	starts  int
}

const bodyMAC = "52:54:00:b0:d1:01"

// newBody makes a machine that is off, out of the boot environment in the folder.
func newBody(t *testing.T, p *point.Point, host *lab.Host, bootenv string, diskSize int64) *body {
	t.Helper()
	b := &body{t: t, p: p, host: host, dir: filepath.Join(p.Network.Dir, "body"), out: func(string) {}}
	b.root, b.disk = filepath.Join(b.dir, "root"), filepath.Join(b.dir, "disk")
	for _, d := range []string{b.root, filepath.Join(b.dir, "dev"), filepath.Join(b.dir, "run"), filepath.Join(b.dir, "block/sda/queue"), filepath.Join(b.dir, "fuse")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "bsdtar", "-xf", filepath.Join(bootenv, "initrd"), "-C", b.root).CombinedOutput(); err != nil {
		t.Fatalf("unpack the boot environment: %v: %s", err, out)
	}
	// The tools of busybox, as /init makes them.
	if out, err := exec.CommandContext(t.Context(), "chroot", b.root, "/bin/busybox", "--install", "-s").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	blankDisk(t, b.disk, diskSize)
	b.write("block/sda/size", fmt.Sprint(diskSize/512))
	b.write("block/sda/ro", "0")
	b.write("block/sda/queue/logical_block_size", "512")
	b.write("block/sda/queue/rotational", "0")
	nodes := map[string][2]uint32{"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}, "fuse": {10, 229}, "loop-control": {10, 237}}
	for i := range uint32(128) {
		nodes[fmt.Sprint("loop", i)] = [2]uint32{7, i}
	}
	for name, number := range nodes {
		kind := uint32(unix.S_IFCHR)
		if number[0] == 7 {
			kind = unix.S_IFBLK
		}
		if err := unix.Mknod(filepath.Join(b.dir, "dev", name), kind|0o600, int(unix.Mkdev(number[0], number[1]))); err != nil {
			t.Fatal(err)
		}
	}
	// Kernels without a reader of partition tables, and loop devices, show no
	// partitions: whoever divides the disk waits until they have been made.
	const sfdisk = "#!/bin/sh\n/usr/sbin/sfdisk.real --no-reread --no-tell-kernel \"$@\" || exit $?\necho divided >/divided\nread answer </known\n"
	real := filepath.Join(b.root, "usr/sbin/sfdisk")
	if err := errors.Join(os.Rename(real, real+".real"), os.WriteFile(real, []byte(sfdisk), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"divided", "known"} {
		if err := unix.Mkfifo(filepath.Join(b.root, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.asked, err = os.OpenFile(filepath.Join(b.root, "divided"), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	known, err := os.OpenFile(filepath.Join(b.root, "known"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.stopped = make(chan struct{})
	go func() {
		defer close(b.stopped)
		one := make([]byte, len("divided\n"))
		for {
			if _, err := io.ReadFull(b.asked, one); err != nil {
				return
			}
			if err := b.rescan(); err != nil {
				t.Errorf("make the partitions of the disk: %v", err)
			}
			if _, err := known.WriteString("known\n"); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := unix.Mount("none", filepath.Join(b.dir, "fuse"), "fusectl", 0, ""); err != nil {
		t.Fatal("mount fusectl: ", err)
	}
	t.Cleanup(func() {
		b.off()
		if err := unix.Unmount(filepath.Join(b.dir, "fuse"), 0); err != nil {
			t.Error("unmount fusectl: ", err)
		}
		b.asked.Close()
		<-b.stopped
		known.Close()
	})
	return b
}

func (b *body) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// loopOf makes a loop device of a part of the disk, which goes when it is closed, and
// its node.
func (b *body) loopOf(name string, offset, size int64) (*os.File, error) {
	backing, err := os.OpenFile(b.disk, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 64 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		f, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd())}
		config.Info.Offset, config.Info.Sizelimit, config.Info.Flags = uint64(offset), uint64(size), unix.LO_FLAGS_AUTOCLEAR
		if err = unix.IoctlLoopConfigure(int(f.Fd()), &config); err != nil {
			f.Close()
			if errors.Is(err, unix.EBUSY) {
				continue // somebody else was quicker
			}
			return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
		}
		node := filepath.Join(b.dir, "dev", name)
		err = errors.Join(os.RemoveAll(node), unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))))
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	return nil, errors.New("no loop device is free")
}

// rescan is what a kernel does when a disk was divided.
func (b *body) rescan() error {
	for i, f := range b.parts {
		f.Close()
		if err := os.Remove(filepath.Join(b.dir, "dev", fmt.Sprint("sda", i+1))); err != nil {
			return err
		}
	}
	b.parts = nil
	if err := b.whole.Sync(); err != nil {
		return err
	}
	out, err := exec.CommandContext(context.Background(), "sfdisk", "--json", b.disk).Output()
	if err != nil {
		return nil // no table: no partitions
	}
	var dump struct {
		Table struct {
			Partitions []struct{ Start, Size int64 }
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		return err
	}
	for i, part := range dump.Table.Partitions {
		f, err := b.loopOf(fmt.Sprint("sda", i+1), part.Start*512, part.Size*512)
		if err != nil {
			return err
		}
		b.parts = append(b.parts, f)
	}
	return nil
}

// bodyScript makes the namespaces a machine: $1 is its folder.
const bodyScript = `set -e
mount --make-rprivate /
mount -t proc proc "$1/root/proc"
mount -t sysfs sysfs "$1/root/sys"
mount --bind "$1/block" "$1/root/sys/block"
[ ! -d "$1/root/sys/firmware/efi" ] || mount -t tmpfs tmpfs "$1/root/sys/firmware"
for folder in mnt tmp; do mount -t tmpfs tmpfs "$1/root/$folder"; done
mount --bind "$1/run" "$1/root/run"
mount --bind "$1/dev" "$1/root/dev"
mount -o remount,bind,dev "$1/root/dev"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
exec chroot "$1/root" /bin/castagent run --from-cmdline --cmdline /cmdline
`

var bootWords = regexp.MustCompile(`castpoint\.\S+`)

// errLocal says that the server has the machine boot from its disk.
var errLocal = errors.New("the machine boots from its disk")

// power starts the machine: it boots from the network.
func (b *body) power(ctx context.Context) error {
	var script string
	for {
		out, code, err := b.host.Run(ctx, "curl", "--silent", "--fail", "--max-time", "20", "http://"+lab.ServerAddr.String()+":8080/ipxe/bios/"+strings.ReplaceAll(bodyMAC, ":", "-"))
		if err != nil {
			return err
		}
		if code == 0 {
			script = out
			break
		}
		time.Sleep(100 * time.Millisecond) // as firmware does while the server is away
	}
	words := strings.Join(bootWords.FindAllString(script, -1), " ")
	if !strings.Contains(words, "castpoint.token=") {
		return fmt.Errorf("%w:\n%s", errLocal, script)
	}
	var err error
	if b.whole, err = b.loopOf("sda", 0, 0); err != nil {
		return err
	}
	if err := b.rescan(); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(b.dir, "run")), os.Mkdir(filepath.Join(b.dir, "run"), 0o755),
		os.WriteFile(filepath.Join(b.root, "cmdline"), []byte(words+"\n"), 0o600)); err != nil {
		return err
	}
	b.starts++
	b.agent, err = b.host.Start(lab.Command{
		Args: []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", bodyScript, "sh", b.dir}, Echo: b.out,
	})
	if err == nil {
		b.pid.Store(int64(b.agent.Pid()))
	}
	return err
}

// off takes the power away when all that was written is on the disk.
func (b *body) off() {
	if b.agent == nil {
		return
	}
	b.pid.Store(0)
	b.abortFUSE()
	b.agent.Kill()
	b.agent = nil
	b.release()
}

// abortFUSE ends the file systems that programs of the machine serve: a kernel waits
// for their answer to its farewell, and nobody is there to give it any more.
func (b *body) abortFUSE() {
	for _, f := range b.parts {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil {
			// The kernel's own number of a device: 12 bits and 20.
			number := uint64(unix.Major(st.Rdev))<<20 | uint64(unix.Minor(st.Rdev))
			_ = os.WriteFile(filepath.Join(b.dir, "fuse", fmt.Sprint(number), "abort"), []byte("1"), 0) // there may be none
		}
	}
}

// release gives the loop devices back, those that the machine has made too.
func (b *body) release() {
	mine := make(map[uint64]bool)
	for _, f := range append(b.parts, b.whole) {
		var st unix.Stat_t
		if f != nil && unix.Fstat(int(f.Fd()), &st) == nil {
			mine[st.Rdev] = true
		}
	}
	list, _ := filepath.Glob("/dev/loop[0-9]*")
	for _, path := range list {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if info, err := unix.IoctlLoopGetStatus64(int(f.Fd())); err == nil && info.Rdevice != 0 && mine[info.Rdevice] {
			_, _ = unix.IoctlRetInt(int(f.Fd()), unix.LOOP_CLR_FD) // a machine that is off has none
		}
		f.Close()
	}
	for i, f := range b.parts {
		f.Close()
		_ = os.Remove(filepath.Join(b.dir, "dev", fmt.Sprint("sda", i+1)))
	}
	b.whole.Close()
	b.whole, b.parts = nil, nil
}

// powerCut takes the power away at once: everything in the machine stands still, what
// its disk has got so far is what stays, and only then its programs are ended, whose
// end would have written the rest.
func (b *body) powerCut() error {
	if b.agent == nil {
		return nil
	}
	b.signal(unix.SIGSTOP)
	cut := b.disk + ".cut"
	if out, err := exec.CommandContext(context.Background(), "cp", "--sparse=always", b.disk, cut).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b.off()
	return os.Rename(cut, b.disk)
}

// signal sends a signal to all programs in the machine: SIGSTOP has it stand still,
// SIGCONT go on.
func (b *body) signal(s unix.Signal) {
	for _, pid := range b.processes() {
		_ = unix.Kill(pid, s) // it may have ended
	}
}

// processes are those in the machine.
func (b *body) processes() (list []int) {
	pid := b.pid.Load()
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var first int
	if _, err := fmt.Sscan(string(children), &first); err != nil {
		return nil
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	if err != nil {
		return nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if other, err := os.Readlink(dir + "/ns/pid"); err == nil && other == space {
			var pid int
			if _, err := fmt.Sscan(filepath.Base(dir), &pid); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}
