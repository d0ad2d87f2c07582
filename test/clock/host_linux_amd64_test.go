package clock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// asProgram in the environment has the test binary be a program that says what time it is.
const asProgram = "CASTPOINT_TEST_CLOCK"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		tell()
		return
	}
	os.Exit(m.Run())
}

// tell answers every byte with the seconds of the calendar, by time.Now and by
// gettimeofday, and the nanoseconds that have passed since its start.
func tell() {
	began := time.Now()
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadByte(); err != nil {
			return
		}
		var tv syscall.Timeval
		if err := syscall.Gettimeofday(&tv); err != nil {
			panic(err)
		}
		now := time.Now()
		fmt.Println(now.Unix(), tv.Sec, int64(now.Sub(began)))
	}
}

func TestProgramWithClockOfItsOwn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// By way of another program, in the same process.
	cmd := exec.Command("/bin/sh", "-c", `exec "$0"`, self)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	const year = 365 * 24 * time.Hour
	h, err := Start(cmd, self, -26*year)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	var lately time.Duration
	for _, ahead := range []time.Duration{-26 * year, 0, 90 * time.Second, 400 * 24 * time.Hour, -time.Hour, 0} {
		if err := h.Set(ahead); err != nil {
			t.Fatal(err)
		}
		before := time.Now().Add(ahead).Unix()
		if _, err := io.WriteString(in, "?"); err != nil {
			t.Fatal(err)
		}
		var now, day int64
		var passed time.Duration
		if _, err := fmt.Fscan(out, &now, &day, &passed); err != nil {
			t.Fatal(err)
		}
		after := time.Now().Add(ahead).Unix()
		if now < before || now > after || day < before || day > after {
			t.Errorf("ahead by %s: time.Now is %s and gettimeofday %s, want %s to %s", ahead, time.Unix(now, 0), time.Unix(day, 0), time.Unix(before, 0), time.Unix(after, 0))
		}
		if passed <= lately || passed > time.Minute {
			t.Errorf("ahead by %s: %s have passed since its start, after %s", ahead, passed, lately)
		}
		lately = passed
	}
	if now := time.Now(); now.Year() < 2024 {
		t.Errorf("the machine's clock shows %s", now)
	}
}

func TestNoProgram(t *testing.T) {
	if _, err := Start(exec.Command("/bin/true"), "/no/such/program", 0); err == nil {
		t.Error("a program that is not there was started")
	}
	// It ends without ever becoming the program.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(exec.Command("/bin/true"), self, 0); err == nil {
		t.Error("another program was started")
	}
}
