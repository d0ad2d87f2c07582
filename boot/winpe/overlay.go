package winpe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"castpoint/content/wim"
	"castpoint/content/wim/overlay"
)

// Places of castpoint's files in the image, on the RAM disk X: later.
const (
	folder     = `\castpoint`
	AgentPath  = folder + `\castagent.exe`
	ConfigPath = folder + `\boot.conf`
	StartPath  = folder + `\start.cmd`
	DriverPath = folder + `\drivers`
	shellPath  = `\Windows\System32\winpeshl.ini`
	netPath    = `\Windows\System32\startnet.cmd`
)

// Config is what the agent finds in ConfigPath: one NAME=VALUE a line, the
// words that a Linux boot environment finds on its kernel command line.
type Config struct {
	Server string   // castpoint.server: base URL of the join endpoint
	Pin    string   // castpoint.pin: hash of its certificate
	Token  string   // castpoint.token: for one use, by this machine
	MAC    string   // castpoint.mac: the card that booted; "" when unknown
	UUID   string   // castpoint.uuid; "" when unknown
	Words  []string // more words, as in castpoint.debug
}

func (c Config) text() ([]byte, error) {
	var b strings.Builder
	add := func(word string) error {
		for _, r := range word {
			if r <= ' ' || r > '~' {
				return fmt.Errorf("agent settings: %q: want printable ASCII without spaces", word)
			}
		}
		b.WriteString(word + "\r\n")
		return nil
	}
	var errs []error
	for _, w := range [][2]string{
		{"castpoint.server", c.Server}, {"castpoint.pin", c.Pin}, {"castpoint.token", c.Token},
		{"castpoint.mac", c.MAC}, {"castpoint.uuid", c.UUID},
	} {
		if w[1] != "" {
			errs = append(errs, add(w[0]+"="+w[1]))
		}
	}
	for _, w := range c.Words {
		errs = append(errs, add(w))
	}
	return []byte(b.String()), errors.Join(errs...)
}

// Agent is the program that runs in Windows PE: castagent for Windows and the
// image's architecture.
type Agent struct {
	Content io.ReaderAt
	Size    int64
	Hash    wim.Hash // zero has it computed for every overlay
}

// Start says what starts the agent in Windows PE.
type Start int

const (
	// StartShell is winpeshl.ini: whatever the image started before, the agent is
	// started and nothing else.
	StartShell Start = iota
	// StartNet is startnet.cmd, which cmd.exe runs where there is no winpeshl.ini.
	StartNet
	// StartNone leaves the start of the image as it is: programs of its own find
	// the agent and StartPath.
	StartNone
)

// promptWord allows a command prompt by F8 while the agent runs.
const promptWord = "castpoint.prompt"

// OverlayOptions say what a machine's WIM has that the stored one has not.
type OverlayOptions struct {
	// Agent is put in and started, with Config; nil leaves the start of the
	// image as it is.
	Agent  *Agent
	Config Config
	Start  Start
	// Prompt leaves a command prompt on the screen when the agent fails, instead
	// of a restart after a minute, and gives one for F8 while it runs.
	Prompt bool
	// Files are added, too: drivers below DriverPath are loaded before the
	// network is started.
	Files []overlay.File
}

// Overlay makes the WIM of one machine. The same options give the same bytes,
// and tokens of one length files of one size. Errors: those of overlay.Base.Overlay;
// settings with spaces or control characters.
func (img *Image) Overlay(o OverlayOptions) (*overlay.Composite, error) {
	files := append([]overlay.File(nil), o.Files...)
	var remove []string
	if o.Agent != nil {
		if o.Prompt {
			o.Config.Words = append(slices.Clone(o.Config.Words), promptWord)
		}
		config, err := o.Config.text()
		if err != nil {
			return nil, err
		}
		files = append(files,
			overlay.File{Path: AgentPath, Content: o.Agent.Content, Size: o.Agent.Size, Hash: o.Agent.Hash},
			overlay.File{Path: ConfigPath, Data: config},
			overlay.File{Path: StartPath, Data: startScript(o.Prompt)},
		)
		switch o.Start {
		case StartShell:
			files = append(files, overlay.File{Path: shellPath, Data: shellINI()})
		case StartNet:
			// With a winpeshl.ini Windows PE would not look at startnet.cmd.
			remove = append(remove, shellPath)
			files = append(files, overlay.File{Path: netPath, Data: crlf("@call %SystemDrive%" + StartPath + "\n")})
		}
	}
	return img.base.Overlay(overlay.Options{Files: files, Remove: remove})
}

// shellINI makes Windows PE start castpoint's script and nothing else. It goes
// before startnet.cmd, and before the setup program of installation media. When
// the script ends, Windows PE restarts the machine.
func shellINI() []byte {
	return crlf(`[LaunchApps]
%SYSTEMDRIVE%\Windows\System32\cmd.exe, /c %SYSTEMDRIVE%` + StartPath + `
`)
}

// startScript starts network and agent. ping is the only program of Windows PE
// that waits; the agent's exit codes are those of castagent.
func startScript(prompt bool) []byte {
	giveUp := `echo castpoint: restarting in one minute
ping -n 61 127.0.0.1 >nul
wpeutil reboot
goto end`
	if prompt {
		giveUp = `echo castpoint: this is a command prompt; wpeutil reboot restarts the machine
cmd /k
wpeutil reboot
goto end`
	}
	return crlf(`@echo off
rem Made by castpoint for this machine.
title castpoint
set root=%SystemDrive%` + folder + `
set tries=0
if exist "%root%\drivers" for /r "%root%\drivers" %%f in (*.inf) do drvload "%%f"
echo castpoint: starting the network
wpeinit
:again
set /a tries+=1
"%root%\castagent.exe" run --from-cmdline --cmdline "%root%\boot.conf"
set code=%errorlevel%
if "%code%"=="0" goto done
echo castpoint: the agent ended with status %code%
rem The same call would fail the same way: wrong call, not found, refused.
if "%code%"=="2" goto failed
if "%code%"=="4" goto failed
if "%code%"=="5" goto failed
if %tries% geq 3 goto failed
ping -n 16 127.0.0.1 >nul
goto again
:failed
` + giveUp + `
:done
set after=reboot
if exist "%SystemDrive%\run\castpoint\after" set /p after=<"%SystemDrive%\run\castpoint\after"
echo castpoint: done, %after%
if "%after%"=="poweroff" wpeutil shutdown
if "%after%"=="shell" cmd /k
if "%after%"=="stay" goto stay
wpeutil reboot
goto end
:stay
ping -n 3601 127.0.0.1 >nul
goto stay
:end
rem Windows PE restarts when this script ends, so give wpeutil the time.
ping -n 61 127.0.0.1 >nul
`)
}

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }
