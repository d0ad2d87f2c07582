package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// Sizes of what is sent, in bytes. With the rate of sessions a receive takes about
// four seconds.
const (
	imageSize   = 8 << 20
	initrdSize  = 5<<20 + 1234
	diskSize    = 256 << 20 // of the data folder
	sessionRate = "20mbit"
)

// soak is the network, the server, and who lives there.
type soak struct {
	options  *options
	seed     uint64
	network  *lab.Network
	point    *point.Point // of who starts and kills the server
	user     *point.Point // a copy, of everybody else
	machines []*machine
	weather  *weather
	tally    *tally
	promises *promises
	clock    *hostClock
	lines    lines // of its log

	files []*file // boot files; the last is the large one
	image struct{ path, id string }

	serveArgs      []string
	receives, runs chan struct{} // those that go on at present
	counted        map[string]int
	log            *os.File
	mounted        bool
	metrics        *http.Client
}

// file is a boot file and its name there.
type file struct {
	name, sha256 string
	size         int64
	bytes        []byte
}

func newFile(name string, b []byte) *file {
	sum := sha256.Sum256(b)
	return &file{name: name, sha256: hex.EncodeToString(sum[:]), size: int64(len(b)), bytes: b}
}

// part is the hash of some of the file.
func (f *file) part(from, to int64) string {
	sum := sha256.Sum256(f.bytes[from:to])
	return hex.EncodeToString(sum[:])
}

func newSoak(ctx context.Context, o *options) (_ *soak, err error) {
	s := &soak{options: o, seed: o.seed, weather: &weather{}, promises: newPromises(), clock: &hostClock{}, counted: map[string]int{},
		receives: make(chan struct{}, receivesAtOnce), runs: make(chan struct{}, runsAtOnce)}
	s.tally = newTally(s.weather)
	if s.network, err = lab.New(ctx, lab.Config{Clients: o.machines}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if o.log != "" {
		if s.log, err = os.Create(o.log); err != nil {
			return nil, err
		}
	}
	if s.point, err = point.New(s.network, o.castpoint); err != nil {
		return nil, err
	}
	s.point.Launch = s.clock.launch
	if err := unix.Mount("castpoint", s.point.Data, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", diskSize)); err != nil {
		return nil, fmt.Errorf("mount a disk for the data folder: %w", err)
	}
	s.mounted = true
	for i, h := range s.network.Clients {
		m, err := s.newMachine(i+1, h)
		if err != nil {
			return nil, err
		}
		s.machines = append(s.machines, m)
	}
	s.metrics = &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.point.Data, "admin.sock"))
		}}}
	return s, nil
}

func (s *soak) close() (err error) {
	if s.point != nil && s.point.Server != nil {
		s.point.Server.Kill()
	}
	err = s.clock.close()
	if s.mounted {
		// Detached: a command that was interrupted may still have a file open there.
		err = errors.Join(err, unix.Unmount(s.point.Data, unix.MNT_DETACH))
	}
	for _, m := range s.machines {
		_ = m.dhcp.Close()
	}
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return errors.Join(err, s.network.Close())
}

// soakSequence is what the machines run: %s is a content.
const soakSequence = `name: soak
steps:
  - {name: Ready, check-readiness: {memory: 1GiB}}
  - {name: Disk, partition-disk: {layout: linux}}
  - {name: Image, apply-image: {content: %s, target: Root}}
  - {name: Loader, install-bootloader: {kind: grub, os: Root}}
  - {name: Log, copy-log: {}}
`

// prepare fills the library and the records, and starts the server.
func (s *soak) prepare(ctx context.Context) error {
	r := rand.New(rand.NewPCG(s.seed, 1<<32))
	fill := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	dir := s.network.Dir
	write := func(name string, b []byte) (string, error) {
		path := filepath.Join(dir, name)
		return path, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
	}
	kernel := fill(make([]byte, 64<<10))
	copy(kernel[0x202:], "HdrS\x0f\x02") // protocol 2.15
	kernel[0x236] = 1                    // for 64 bits
	initrd := append([]byte("\x1f\x8b"), fill(make([]byte, initrdSize-2))...)
	small, exact := fill(make([]byte, 3000)), fill(make([]byte, 1024*8))
	var errs []error
	paths := map[string]string{}
	for name, b := range map[string][]byte{"vmlinuz": kernel, "initrd": initrd, "loaders/small.efi": small, "loaders/exact.efi": exact, "image/image.bin": fill(make([]byte, 200_000))} {
		path, err := write(name, b)
		errs = append(errs, err)
		paths[name] = path
	}
	table := "name,mac,groups\n"
	for _, m := range s.machines {
		table += fmt.Sprintf("%s,%s,soak\n", m.deviceName(), m.self.MAC)
		s.promises.note(m.deviceName(), "", true)
	}
	devices, err := write("devices.csv", []byte(table))
	sequence, err2 := write("soak.yaml", fmt.Appendf(nil, soakSequence, "image"))
	if err := errors.Join(append(errs, err, err2)...); err != nil {
		return err
	}
	s.image.path = filepath.Join(dir, "source.wim")
	if err := image.Make(ctx, s.image.path, "soak", imageSize); err != nil {
		return err
	}
	// Times are as short as can be, so that rests are. The server is there first: what
	// it keeps free on the disk is its own setting.
	s.serveArgs = []string{"--dhcp", "server", "--pool", "10.77.0.60-10.77.0.250", "--lease", "1m", "--loaders", filepath.Join(dir, "loaders"), "--loaders", "/usr/lib/ipxe",
		"--rate", sessionRate, "--disk-reserve", "0", "--tftp-idle", "10s", "--http-idle", "10s", "--http-stall", "10s", "--linger", "3s", "--log-format", "json"}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	os1, err := s.point.Add(ctx, "os-image", s.image.path, "--multicast", "--encrypt")
	if err != nil {
		return err
	}
	boot, err := s.point.Add(ctx, "boot-image", "--kernel", paths["vmlinuz"], "--initrd", paths["initrd"], "--arch", "amd64", "--name", "linux")
	if err != nil {
		return err
	}
	pack, err := s.point.Add(ctx, "package", filepath.Dir(paths["image/image.bin"]), "--name", "image")
	if err != nil {
		return err
	}
	s.image.id = os1.ID
	for _, c := range []point.Content{os1, boot, pack} {
		s.promises.content(c.ID, true)
	}
	s.files = []*file{newFile("boot/"+boot.ID+"/vmlinuz", kernel), newFile("small.efi", small), newFile("exact.efi", exact), newFile("boot/"+boot.ID+"/initrd", initrd)}
	for _, args := range [][]string{
		{"device", "import", devices}, {"sequence", "add", sequence}, {"collection", "add", "soak", "--rule", "group=soak"},
		{"deployment", "add", "soak", "--sequence", "soak", "--collection", "soak", "--purpose", "required", "--rerun", "always"},
	} {
		if _, err := s.point.Run(ctx, append(args, "--data", s.point.Data)...); err != nil {
			return err
		}
	}
	user := *s.point
	s.user = &user
	return nil
}

// storm has everybody live for a time.
func (s *soak) storm(ctx context.Context, length time.Duration, kills bool, stream uint64) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range s.machines {
		all.Go(func() { m.live(ctx) })
	}
	all.Go(func() {
		(&operator{soak: s, stream: stream, rand: rand.New(rand.NewPCG(s.seed, 2<<32+stream))}).work(ctx)
	})
	failed := s.disturb(ctx, kills, rand.New(rand.NewPCG(s.seed, 3<<32+stream)))
	if failed != nil {
		cancel()
	}
	all.Wait()
	if failed == nil {
		select {
		case <-s.point.Server.Done():
			failed = fmt.Errorf("castpoint serve has ended by itself:\n%s", s.point.Server.Output.Tail(60))
		default:
		}
	}
	return failed
}

// kills is the part in which the server dies.
func (s *soak) kills(ctx context.Context, length time.Duration) error {
	say("kills, for %s", length)
	if err := s.storm(ctx, length, true, 1); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), s.ask(ctx)); err != nil {
		return err
	}
	// Once more by a server that has it from the disk alone.
	if err := errors.Join(s.killServer(ctx), s.startServer(ctx)); err != nil {
		return err
	}
	return s.ask(ctx)
}

// wear is the part in which one process has to last.
func (s *soak) wear(ctx context.Context, warming, length time.Duration) error {
	say("warming, for %s", warming)
	if err := s.storm(ctx, warming, false, 2); err != nil {
		return err
	}
	base, err := rest(ctx, s.usage)
	if err != nil {
		return err
	}
	say("at rest: %s", base)
	say("wear, for %s", length)
	if err := s.storm(ctx, length, false, 3); err != nil {
		return err
	}
	end, err := rest(ctx, s.usage)
	if err != nil {
		return err
	}
	say("at rest: %s", end)
	for _, g := range end.growth(base) {
		s.tally.fault("%s", g)
	}
	return s.ask(ctx)
}

func (s *soak) usage(ctx context.Context) (usage, error) {
	return readUsage(ctx, s.metrics, "http://localhost/metrics")
}

// verdict shows what was done, and returns what went wrong.
func (s *soak) verdict() error {
	if code, err := s.point.Server.Stop(); err != nil || code != 0 {
		s.tally.fault("castpoint serve ended with code %d after SIGTERM (%w)", code, err)
	}
	for line := range strings.Lines(s.point.Server.Output.String()) {
		if strings.Contains(line, "panic") {
			s.tally.fault("the server's log: %s", bytes.TrimSpace([]byte(line)))
		}
	}
	fmt.Println()
	fmt.Print(s.tally.table())
	for _, what := range slices.Sorted(maps.Keys(s.counted)) {
		fmt.Printf("%-28s %8d times\n", what, s.counted[what])
	}
	fmt.Printf("%-28s %8d times\n", "the clock was set", s.clock.jumps)
	return s.tally.err()
}
