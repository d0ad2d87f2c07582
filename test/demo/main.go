// Command demo shows what castpoint does, on one machine and without touching
// its network: in a closed virtual network, castpoint boots one BIOS and one
// UEFI machine over PXE and streams a WIM to them and to four clients in one
// encrypted multicast session. It ends with a table of what each received,
// checked by wimlib, and leaves nothing behind.
//
// Order of events:
//
//  1. a WIM is made with wimlib out of files of this machine;
//  2. a network of namespaces is made, and castpoint put into it;
//  3. castpoint serves, with a DHCP pool of its own for the virtual machines;
//  4. two QEMU machines start from nothing, four castpoint receive processes in
//     namespaces join; the session waits for all six;
//  5. every WIM that arrived is compared with the source and verified.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
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

	n, err := lab.New(ctx, lab.Config{Clients: clients, Offload: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	say("a closed network: server %s, a switch, %d clients, room for virtual machines", n.Server.Addr, clients)
	if err := enoughSpace(n.Dir, o.size*scratch); err != nil {
		return err
	}

	wim := filepath.Join(n.Dir, "demo.wim")
	t := time.Now()
	if err := image.Make(ctx, wim, "castpoint demo", o.size); err != nil {
		return err
	}
	info, err := os.Stat(wim)
	if err != nil {
		return err
	}
	say("a WIM of %d MB, made with wimlib from files under /usr in %.1f s", info.Size()/1e6, time.Since(t).Seconds())

	p, err := point.New(n, o.castpoint)
	if err != nil {
		return err
	}
	osImage, err := p.Add(ctx, "os-image", wim, "--multicast", "--encrypt")
	if err != nil {
		return err
	}
	t = time.Now()
	if _, err := p.AddBootEnvironment(ctx); err != nil {
		return err
	}
	say("a boot environment from this machine's kernel, built in %.1f s", time.Since(t).Seconds())

	echo := func(prefix string) func(string) {
		if !o.verbose {
			return nil
		}
		return func(line string) { fmt.Printf("%s: %s\n", prefix, line) }
	}
	accel, rate, how := n.Accelerator(ctx), hardwareRate, "by KVM"
	if accel != "kvm" {
		rate, how = softwareRate, "in software, because KVM does not work here"
	}
	if o.rate != "" {
		rate = o.rate
	}
	if err := p.Serve(ctx, echo("server"), serveArguments(osImage.ID, rate)...); err != nil {
		return err
	}
	say("castpoint serves DHCP, TFTP, HTTP and sessions; starting two machines %s, and the clients", how)

	d := &demo{point: p, content: osImage, size: info.Size(), wim: wim, started: time.Now()}
	for _, fw := range []lab.Firmware{lab.BIOS, lab.UEFI} {
		if err := d.boot(ctx, fw, accel, echo(string(fw))); err != nil {
			return err
		}
	}
	for _, h := range n.Clients {
		if err := d.receive(ctx, h); err != nil {
			return err
		}
	}
	if err := d.watch(ctx, newScreen(os.Stdout, o.verbose)); err != nil {
		return err
	}
	if _, err := p.Server.Stop(); err != nil {
		return err
	}
	say("everything has arrived; verifying with wimlib")
	d.verify(ctx)
	d.table(os.Stdout)
	if err := d.failure(); err != nil {
		return err
	}
	fmt.Printf("\nAll six are whole. The demo took %.0f s and leaves nothing behind.\n", time.Since(start).Seconds())
	return nil
}

func serveArguments(content, rate string) []string {
	return []string{"--dhcp", "server", "--pool", point.Pool, "--rate", rate,
		"--assign", content, "--target", "/dev/vda", "--after", "poweroff",
		// One session for all six: it waits until they are there.
		"--min-members", fmt.Sprint(clients + 2), "--max-wait", "5m",
		"--kernel-args", "console=ttyS0", "--kernel-args", "quiet"}
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
