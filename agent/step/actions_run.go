package step

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// Exit codes of Windows' installers (msi.h).
const (
	exitRestartNeeded  = 3010 // ERROR_SUCCESS_REBOOT_REQUIRED
	exitRestartStarted = 1641 // ERROR_SUCCESS_REBOOT_INITIATED
)

// program runs a step's program: with the sequence's variables in its environment,
// and its exit code judged as the step says.
func (e *engine) program(ctx context.Context, p machine.Program, exit *sequence.Exit, variable string) (outcome, error) {
	for name, v := range e.state.Variables {
		p.Env = append(p.Env, "CP_"+name+"="+v.Value)
	}
	for name, value := range e.builtIn() {
		p.Env = append(p.Env, "CP"+name+"="+value)
	}
	var printed bytes.Buffer
	if variable != "" {
		p.Output = func(b []byte) {
			if printed.Len()+len(b) <= 2*sequence.MaxValue {
				printed.Write(b)
			}
		}
	}
	r, err := e.o.Machine.Programs().Run(ctx, p)
	done := outcome{code: r.Code, output: r.Tail}
	if err != nil {
		return done, err
	}
	success, restart := exit.Success, exit.Restart
	if len(success) == 0 {
		success = []int{0, exitRestartNeeded}
	}
	if len(restart) == 0 {
		restart = []int{exitRestartStarted}
		if len(exit.Success) == 0 {
			restart = append(restart, exitRestartNeeded)
		}
	}
	if !slices.Contains(success, r.Code) && !slices.Contains(restart, r.Code) {
		return done, &machine.ExitError{Program: "the program", Code: r.Code, Tail: r.Tail}
	}
	e.state.Restart = slices.Contains(restart, r.Code)
	if variable != "" {
		value := strings.TrimSpace(strings.ToValidUTF8(printed.String(), "?"))
		if len(value) > sequence.MaxValue {
			return done, fmt.Errorf("what it prints does not fit variable %s: it is longer than %d bytes", variable, sequence.MaxValue)
		}
		done.variables = map[string]protocol.VariableValue{variable: {Value: value}}
	}
	return done, nil
}

func (e *engine) runCommand(ctx context.Context, a *sequence.RunCommand) (outcome, error) {
	p := e.o.Machine.Shell(a.Command)
	p.Dir = a.Folder
	if a.Content != "" {
		folder, err := e.fetchByName(ctx, a.Content)
		if err != nil {
			return outcome{}, err
		}
		p.Dir = filepath.Join(folder, a.Folder)
	}
	for name, value := range a.Env {
		p.Env = append(p.Env, name+"="+value)
	}
	return e.program(ctx, p, &a.Exit, a.Variable)
}

func (e *engine) installPackage(ctx context.Context, a *sequence.InstallPackage) (outcome, error) {
	folder, err := e.fetchByName(ctx, a.Content)
	if err != nil {
		return outcome{}, err
	}
	p := e.o.Machine.Shell(a.Command)
	p.Dir = folder
	return e.program(ctx, p, &a.Exit, "")
}

func (e *engine) runPowerShell(ctx context.Context, a *sequence.RunPowerShell) (outcome, error) {
	file, dir := a.File, ""
	if a.Content != "" {
		folder, err := e.fetchByName(ctx, a.Content)
		if err != nil {
			return outcome{}, err
		}
		file, dir = filepath.Join(folder, filepath.FromSlash(strings.ReplaceAll(a.File, `\`, "/"))), folder
	}
	if a.Script != "" {
		// The mark at the beginning has PowerShell 5 read it as UTF-8.
		file = filepath.Join(e.o.Memory, "script.ps1")
		if err := os.WriteFile(file, []byte("\ufeff"+a.Script), 0o600); err != nil {
			return outcome{}, fmt.Errorf("write the script: %w", err)
		}
		defer os.Remove(file)
	}
	p, err := e.o.Machine.PowerShell(a, file)
	if err != nil {
		return outcome{}, err
	}
	p.Dir = dir
	return e.program(ctx, p, &a.Exit, a.Variable)
}

// prepareCapture runs Sysprep, which is a part of every Windows.
func (e *engine) prepareCapture(ctx context.Context, a *sequence.PrepareCapture) error {
	if e.o.Machine.Environment() != sequence.EnvironmentWindows {
		return machine.ErrNotWindows
	}
	mode := a.Mode
	if mode == "" {
		mode = "oobe"
	}
	if !a.KeepApps {
		// Apps of one user that others do not have make Sysprep fail.
		remove := machine.Program{Args: []string{"powershell", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
			"Get-AppxPackage -AllUsers | Where-Object { -not $_.NonRemovable -and -not $_.IsFramework -and (Get-AppxProvisionedPackage -Online).PackageName -notcontains $_.PackageFullName } | Remove-AppxPackage -AllUsers -ErrorAction SilentlyContinue; exit 0"}}
		if _, err := e.o.Machine.Programs().Run(ctx, remove); err != nil {
			return fmt.Errorf("remove apps of single users: %w", err)
		}
	}
	file := ""
	if a.Unattend != "" {
		file = filepath.Join(e.o.Memory, "sysprep.xml")
		if err := os.WriteFile(file, []byte(a.Unattend), 0o600); err != nil {
			return fmt.Errorf("write the answer file of Sysprep: %w", err)
		}
	}
	return e.o.Machine.Sysprep(ctx, filepath.Join(os.Getenv("SystemRoot"), "System32", "Sysprep", "sysprep.exe"), mode, file)
}

// copyLog sends files to the server, or copies them to a folder.
func (e *engine) copyLog(ctx context.Context, a *sequence.CopyLog) error {
	patterns := a.Files
	if len(patterns) == 0 {
		patterns = []string{e.log.file.Name()}
	}
	found := 0
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("files %q: %w", pattern, err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := e.copyOne(ctx, file, a.Folder); err != nil {
				return err
			}
			found++
		}
	}
	if found == 0 {
		return fmt.Errorf("there is no file %s", strings.Join(patterns, ", "))
	}
	return nil
}

func (e *engine) copyOne(ctx context.Context, file, folder string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if folder == "" {
		name := filepath.Base(file)
		if len(name) > protocol.MaxLogName {
			name = name[len(name)-protocol.MaxLogName:]
		}
		err := e.tellWithin(ctx, cmp.Or(e.patience, sequence.Patience), "send "+file, func(ctx context.Context) error {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			return e.o.Server.Log(ctx, name, f)
		})
		if err != nil {
			return fmt.Errorf("send %s: %w", file, err)
		}
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(folder, filepath.Base(file)))
	if err != nil {
		return err
	}
	_, err = f.WriteTo(out)
	return errors.Join(err, out.Close())
}

// pathOfSystem is the top of the volume of the running system.
func pathOfSystem() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("SystemDrive") + `\`
	}
	return "/"
}
