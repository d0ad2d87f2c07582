package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The disk's speed is measured with a file of so many bytes, for at most so long in
// each direction, and not when that would fill the disk.
const (
	speedSize  = 64 << 20
	speedBlock = 1 << 20
	speedLimit = 3 * time.Second
	speedRoom  = 8 * speedSize
)

// Rates of a disk in bytes per second: less than diskSlow keeps every session waiting;
// diskEnough is what a session of a gigabit reads.
const (
	diskSlow   = 5e6
	diskEnough = 125e6
)

func disk(ctx context.Context, t *Target) []Finding {
	var st syscall.Statfs_t
	if err := syscall.Statfs(t.Data, &st); err != nil {
		return []Finding{{Level: Attention, Text: fmt.Sprintf("data folder %s: %v", t.Data, err), Do: "name the folder with --data, or start castpoint serve once, which makes it"}}
	}
	free, size := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	var all []Finding
	if f, err := os.CreateTemp(t.Data, ".doctor-*"); err != nil {
		all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("the data folder cannot be written: %v", err), Do: "run as the server's user; look at its mount and permissions"})
	} else {
		if free > speedRoom {
			all = append(all, diskSpeed(ctx, f)...)
		}
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	f := Finding{Level: OK, Text: fmt.Sprintf("%.1f of %.1f GB are free in %s", float64(free)/1e9, float64(size)/1e9, t.Data)}
	if free < t.Room || st.Files > 0 && st.Ffree == 0 {
		f.Level = Attention
		f.Do = "castpoint content gc removes what nothing names; else a larger disk"
	}
	return append([]Finding{f}, all...)
}

// diskSpeed measures how fast the file is written and read.
func diskSpeed(ctx context.Context, f *os.File) []Finding {
	block := make([]byte, speedBlock)
	for i := range block {
		block[i] = byte(i * (i>>8 + 1)) // nothing that a file system packs
	}
	written, writing, err := timed(ctx, func() (int, error) { return f.Write(block) })
	if err == nil {
		began := time.Now()
		err = unix.Fdatasync(int(f.Fd()))
		writing += time.Since(began)
	}
	if err != nil {
		return []Finding{{Level: Attention, Text: fmt.Sprintf("the data folder cannot be written: %v", err), Do: "look at the disk: dmesg, smartctl -a"}}
	}
	// Out of memory, so that it is the disk that is read.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return []Finding{{Level: Note, Text: err.Error()}}
	}
	read, reading, err := timed(ctx, func() (int, error) { return f.Read(block) })
	if err != nil && !errors.Is(err, io.EOF) {
		return []Finding{{Level: Attention, Text: fmt.Sprintf("what was written to the data folder cannot be read: %v", err), Do: "look at the disk: dmesg, smartctl -a"}}
	}
	return []Finding{judgeDisk(float64(written)/writing.Seconds(), float64(read)/reading.Seconds())}
}

// timed repeats something until speedSize is done or its time is over.
func timed(ctx context.Context, some func() (int, error)) (done int64, took time.Duration, err error) {
	began := time.Now()
	for done < speedSize && time.Since(began) < speedLimit && ctx.Err() == nil {
		n, err := some()
		done += int64(n)
		if err != nil {
			return done, time.Since(began), err
		}
	}
	return done, max(time.Since(began), time.Microsecond), nil
}

// judgeDisk is the finding about rates in bytes per second.
func judgeDisk(write, read float64) Finding {
	f := Finding{Level: OK, Text: fmt.Sprintf("the data folder is written at %.0f MB/s and read at %.0f MB/s", write/1e6, read/1e6)}
	switch {
	case read < diskSlow || write < diskSlow:
		f.Level = Attention
		f.Do = "sessions and additions wait for this disk: look at what else uses it (iostat -x 1) and at its health (smartctl -a), or move the data folder (castpoint backup, restore)"
	case read < diskEnough:
		f.Level = Note
		f.Do = "a session of 1 Gbit/s reads 125 MB/s, unless the image is in memory: a faster disk, or more memory"
	}
	return f
}
