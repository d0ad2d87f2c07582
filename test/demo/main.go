// Command demo shows what castpoint does, on one machine and without touching
// its network: in a closed virtual network, castpoint boots one BIOS and one
// UEFI machine over PXE and streams a WIM to them and to four clients in one
// encrypted multicast session. It ends with a table of what each received,
// checked by wimlib, and leaves nothing behind.
//
// Order of events:
//
//  1. a WIM is made with wimlib out of files of this machine, and added to a library
//     with a boot environment;
//  2. castpoint lab up makes a network of namespaces, serves in it with a DHCP pool of
//     its own, and starts two QEMU machines from nothing;
//  3. four castpoint receive processes in namespaces join (castpoint lab exec); the
//     session waits for all six;
//  4. every WIM that arrived is compared with the source and verified;
//  5. castpoint lab down removes the network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/test/image"
)

const (
	clients = 4
	// scratch is what the demo needs on disk for each byte of the WIM: the
	// source, the library's copy, and one for each receiver.
	scratch = 2 + clients + 2
)

// Rate limits of the session. A machine emulated in software opens and checks
// some 50 to 100 Mbit/s: with more the session would go on without it and serve
// it in the end, which is quicker for the others and worse to look at.
const (
	hardwareRate = "400mbit"
	softwareRate = "80mbit"
)

// options are what the command line says.
type options struct {
	castpoint string
	size      int64 // of the WIM, bytes
	rate      string
	limit     time.Duration
	verbose   bool
}

func main() {
	// The lab ends with the thread that has started it.
	runtime.LockOSThread()
	var o options
	flag.StringVar(&o.castpoint, "castpoint", "bin/castpoint", "the castpoint program")
	mib := flag.Int64("size", 200, "size of the WIM, MiB")
	flag.StringVar(&o.rate, "rate", "", "rate limit of the session (default "+hardwareRate+", or "+softwareRate+" without KVM)")
	flag.DurationVar(&o.limit, "limit", 10*time.Minute, "give up after this time")
	flag.BoolVar(&o.verbose, "verbose", false, "show what the server and the machines say")
	flag.Parse()
	o.size = *mib << 20

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; the virtual network is removed")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(parent context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(parent, o.limit)
	defer cancel()
	start := time.Now()

	// Everything is in one folder, the lab of the demo as well: it meets no other.
	dir, err := os.MkdirTemp("", "castpoint-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := enoughSpace(dir, o.size*scratch); err != nil {
		return err
	}
	program, err := filepath.Abs(o.castpoint)
	if err != nil {
		return err
	}
	c := &castpoint{program: program, dir: dir, data: filepath.Join(dir, "data")}
	var fit struct{ Accelerator string }
	if err := c.ask(ctx, &fit, "lab", "check", "--firmware", "bios,uefi", "--json"); err != nil {
		return err
	}

	wim := filepath.Join(dir, "demo.wim")
	t := time.Now()
	if err := image.Make(ctx, wim, "castpoint demo", o.size); err != nil {
		return err
	}
	info, err := os.Stat(wim)
	if err != nil {
		return err
	}
	say("a WIM of %d MB, made with wimlib from files under /usr in %.1f s", info.Size()/1e6, time.Since(t).Seconds())
	var osImage struct{ ID string }
	if err := c.ask(ctx, &osImage, "content", "add", "os-image", wim, "--multicast", "--encrypt", "--json", "--data", c.data); err != nil {
		return err
	}
	t = time.Now()
	if err := c.addBootEnvironment(ctx); err != nil {
		return err
	}
	say("a boot environment from this machine's kernel, built in %.1f s", time.Since(t).Seconds())

	rate, how := hardwareRate, "by KVM"
	if fit.Accelerator != "kvm" {
		rate, how = softwareRate, "in software, because KVM does not work here"
	}
	if o.rate != "" {
		rate = o.rate
	}
	d := &demo{castpoint: c, content: osImage.ID, size: info.Size(), wim: wim}
	say("castpoint lab up: a closed network with a server, two machines %s, and room for %d clients", how, clients)
	if err := d.up(ctx, o.verbose, rate); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.down()) }()
	say("castpoint serves DHCP, TFTP, HTTP and sessions at %s; starting the clients", d.address)
	for i := range clients {
		if err := d.receive(ctx, fmt.Sprintf("client%d", i+1)); err != nil {
			return err
		}
	}
	if err := d.watch(ctx, newScreen(os.Stdout, o.verbose)); err != nil {
		return err
	}
	say("everything has arrived; verifying with wimlib")
	d.verify(ctx)
	d.table(os.Stdout)
	if err := d.failure(); err != nil {
		return err
	}
	if err := d.down(); err != nil {
		return err
	}
	fmt.Printf("\nAll six are whole. The demo took %.0f s and leaves nothing behind.\n", time.Since(start).Seconds())
	return nil
}

func say(format string, args ...any) {
	fmt.Printf("==> "+format+"\n", args...)
}

// enoughSpace fails early rather than with a full disk in the middle.
func enoughSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look for space in %s: %w", dir, err)
	}
	if have := int64(st.Bavail) * st.Bsize; have < need {
		return fmt.Errorf("the demo needs %d MB in %s and there are %d: set TMPDIR to a folder with more, or run it with a smaller -size",
			need/1e6, filepath.Dir(dir), have/1e6)
	}
	return nil
}
