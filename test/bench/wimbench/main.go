// Command wimbench measures castpoint beside wimlib-imagex on the same WIM files:
// verify, which reads everything and compares the SHA-1, and extract of a whole
// image.
//
// wimlib decompresses with one thread, so castpoint is measured with one and with
// all. The programs take turns; a number is the median of the runs, by the wall
// clock, and beside it stands the processor time. Files lie in memory, so that no
// disk is measured. A ratio above 1 means that castpoint is faster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"castpoint/test/image"
)

// variants are the kinds of WIM that are measured, by the options of wimlib-imagex
// export.
var variants = []struct {
	name string
	args []string
}{
	{"XPRESS", []string{"--compress=xpress"}},
	{"LZX", []string{"--compress=lzx"}},
	{"LZMS", []string{"--compress=lzms"}},
	{"solid LZMS", []string{"--solid"}},
	{"none", []string{"--compress=none"}},
}

type bench struct {
	castpoint string
	dir       string
	runs      int
	cores     int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wimbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := bench{}
	flag.StringVar(&b.castpoint, "castpoint", "bin/castpoint", "the `PROGRAM`")
	flag.IntVar(&b.runs, "runs", 3, "runs of each measurement")
	flag.IntVar(&b.cores, "threads", 2, "threads of castpoint, beside one")
	mib := flag.Int64("size", 64, "size of the WIM, MiB, compressed by XPRESS")
	keep := flag.String("files", "", "`FOLDER` to take the WIM files from, or to leave them in for the next time")
	flag.StringVar(&b.dir, "dir", "/dev/shm", "`FOLDER` for files that are extracted, and for the WIMs")
	flag.Parse()
	work, err := os.MkdirTemp(b.dir, "castpoint-wimbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b.dir = work
	files := *keep
	if files == "" {
		files = work
	}
	source := filepath.Join(files, "source.wim")
	if _, err := os.Stat(source); err != nil {
		if err := image.Make(ctx, source, "bench", *mib<<20); err != nil {
			return err
		}
	}
	fmt.Printf("| WIM | | wimlib s (CPU) | castpoint, 1 thread | ratio | castpoint, %d threads | ratio |\n|---|---|--:|--:|--:|--:|--:|\n", b.cores)
	for _, v := range variants {
		file := filepath.Join(files, strings.ReplaceAll(strings.ToLower(v.name), " ", "-")+".wim")
		if _, err := os.Stat(file); err != nil {
			if err := image.Export(ctx, source, file, v.args...); err != nil {
				return err
			}
		}
		if err := b.verify(ctx, v.name, file); err != nil {
			return err
		}
		if err := b.extract(ctx, v.name, file); err != nil {
			return err
		}
	}
	return nil
}

// took is what a run needed.
type took struct{ wall, cpu time.Duration }

// command runs a program and measures it.
func command(ctx context.Context, name string, args ...string) (took, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t := took{wall: time.Since(began)}
	if cmd.ProcessState != nil {
		t.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	// castpoint leaves links out when it extracts, and says so by its exit code.
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && args[1] == "extract" {
		err = nil
	}
	if err != nil {
		return t, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out[max(0, len(out)-300):])
	}
	return t, nil
}

func (b *bench) verify(ctx context.Context, name, file string) error {
	return b.measure(name, "verify", func(who int) (took, error) {
		if who == 0 {
			return command(ctx, "wimlib-imagex", "verify", file)
		}
		return command(ctx, b.castpoint, "wim", "verify", file, "--threads", strconv.Itoa(b.threads(who)))
	})
}

func (b *bench) extract(ctx context.Context, name, file string) error {
	return b.measure(name, "extract", func(who int) (took, error) {
		to := filepath.Join(b.dir, "out")
		defer os.RemoveAll(to)
		if who == 0 {
			return command(ctx, "wimlib-imagex", "extract", file, "1", "--dest-dir="+to, "--no-acls")
		}
		return command(ctx, b.castpoint, "wim", "extract", file, "/", "--out", to, "--threads", strconv.Itoa(b.threads(who)))
	})
}

func (b *bench) threads(who int) int {
	if who == 1 {
		return 1
	}
	return b.cores
}

// measure runs wimlib (0) and castpoint with one thread (1) and several (2) in
// turns, and prints a row.
func (b *bench) measure(name, what string, f func(who int) (took, error)) error {
	var all [3][]took
	for range b.runs {
		for who := range all {
			t, err := f(who)
			if err != nil {
				return err
			}
			all[who] = append(all[who], t)
		}
	}
	var m [3]took
	for who, runs := range all {
		slices.SortFunc(runs, func(a, b took) int { return int(a.wall - b.wall) })
		m[who] = runs[len(runs)/2]
	}
	cell := func(t took) string { return fmt.Sprintf("%.2f (%.2f)", t.wall.Seconds(), t.cpu.Seconds()) }
	ratio := func(who int) string { return fmt.Sprintf("%.2fx", m[0].wall.Seconds()/m[who].wall.Seconds()) }
	fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", name, what, cell(m[0]), cell(m[1]), ratio(1), cell(m[2]), ratio(2))
	return nil
}
