// Command contentbench measures how long castpoint takes to add an image to its
// library, beside what an administrator would do by hand: sha256sum, and cp to
// the same disk.
//
// The image is a WIM of bytes that do not compress, with an integrity table, so
// castpoint computes SHA-256, BLAKE3 and SHA-1, copies, and does not say that it
// is done before everything is on the disk. The copy by hand is taken twice: as
// cp leaves it, in memory, and with sync behind it, on the disk. All take turns,
// with the source in memory (warm) and, as root, with nothing in memory (cold).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "contentbench:", err)
		os.Exit(1)
	}
}

// bench is what all runs have in common.
type bench struct {
	castpoint string
	dir       string // of everything
	image     string
	cold      bool
}

func run(ctx context.Context) error {
	var b bench
	var size int64
	var runs int
	var parent string
	flag.StringVar(&b.castpoint, "castpoint", "bin/castpoint", "`FILE` of the program")
	flag.StringVar(&parent, "dir", ".", "`FOLDER` on the disk that is measured; three times the image has to fit")
	flag.Int64Var(&size, "size", 4096, "`MIB` of the image")
	flag.IntVar(&runs, "runs", 3, "runs of each, of which the median counts")
	flag.BoolVar(&b.cold, "cold", os.Geteuid() == 0, "measure with nothing in memory too (root)")
	flag.Parse()
	var err error
	if b.castpoint, err = filepath.Abs(b.castpoint); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(parent, "contentbench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.makeImage(ctx, size<<20); err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d MiB\tsha256sum s\tcp s\tcp, sync s\tcastpoint s\tof sha256sum + cp\tof sha256sum + cp, sync\n", size)
	states := []string{"warm"}
	if b.cold {
		states = append(states, "cold")
	}
	for _, state := range states {
		row, err := b.measure(ctx, state == "cold", runs)
		if err != nil {
			return err
		}
		sum, cp, synced, add := row[0], row[1], row[2], row[3]
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2fx\t%.2fx\n", state,
			sum.Seconds(), cp.Seconds(), synced.Seconds(), add.Seconds(),
			(sum+cp).Seconds()/add.Seconds(), (sum+synced).Seconds()/add.Seconds())
	}
	return w.Flush()
}

// makeImage makes the WIM.
func (b *bench) makeImage(ctx context.Context, size int64) error {
	tree := filepath.Join(b.dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(tree, "data"))
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	b.image = filepath.Join(b.dir, "image.wim")
	if err := command(ctx, "wimlib-imagex", "capture", tree, b.image, "bench", "--compress=none", "--check"); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// measure returns the medians of sha256sum, cp, cp with sync, and castpoint.
func (b *bench) measure(ctx context.Context, cold bool, runs int) ([]time.Duration, error) {
	copied, data := filepath.Join(b.dir, "copy"), filepath.Join(b.dir, "data")
	steps := []func() error{
		func() error { return command(ctx, "sha256sum", b.image) },
		func() error { return command(ctx, "cp", "--reflink=never", b.image, copied) },
		func() error {
			return errors.Join(command(ctx, "cp", "--reflink=never", b.image, copied), command(ctx, "sync", copied))
		},
		func() error {
			return command(ctx, b.castpoint, "content", "add", "os-image", b.image, "--data", data)
		},
	}
	took := make([][]time.Duration, len(steps))
	for range runs {
		for i, step := range steps {
			if err := errors.Join(os.RemoveAll(copied), os.RemoveAll(data)); err != nil {
				return nil, err
			}
			if err := b.prepare(cold); err != nil {
				return nil, err
			}
			began := time.Now()
			if err := step(); err != nil {
				return nil, err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	medians := make([]time.Duration, len(steps))
	for i, t := range took {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
	}
	return medians, errors.Join(os.RemoveAll(copied), os.RemoveAll(data))
}

// prepare makes memory and disk the same for every step: nothing waits to be
// written, and the image is in memory or nothing is.
func (b *bench) prepare(cold bool) error {
	unix.Sync()
	if cold {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200); err != nil {
			return fmt.Errorf("empty the memory: %w", err)
		}
		return nil
	}
	f, err := os.Open(b.image)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}
