package machine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"castpoint/deploy/sequence"
)

// ErrNotWindows is the answer of the Linux boot environment to what only a running
// Windows can do.
var ErrNotWindows = errors.New("this needs a running Windows: restart into the disk before the step")

// recoveryPattern is a BitLocker recovery password: eight groups of six digits.
var recoveryPattern = regexp.MustCompile(`\b\d{6}(?:-\d{6}){7}\b`)

// EnableBitLocker turns encryption on, and returns the recovery password when the
// server is to keep it.
func (w *Windows) EnableBitLocker(ctx context.Context, drive string, step *sequence.EnableBitLocker) (recovery string, err error) {
	run := func(input string, args ...string) (Result, error) {
		r, err := w.programs.Run(ctx, Program{Args: append([]string{"manage-bde"}, args...), Input: strings.NewReader(input)})
		if err == nil && r.Code != 0 {
			err = &ExitError{Program: "manage-bde " + args[0], Code: r.Code, Tail: r.Tail}
		}
		return r, err
	}
	if step.Recovery != "none" {
		r, err := run("", "-protectors", "-add", drive, "-RecoveryPassword")
		if err != nil {
			return "", fmt.Errorf("make a recovery password: %w", err)
		}
		if recovery = recoveryPattern.FindString(r.Tail); recovery == "" {
			return "", errors.New("make a recovery password: manage-bde shows none")
		}
		if step.Recovery == "directory" {
			id := regexp.MustCompile(`\{[0-9A-Fa-f-]{36}\}`).FindString(r.Tail)
			if _, err := run("", "-protectors", "-adbackup", drive, "-id", id); err != nil {
				return "", fmt.Errorf("keep the recovery password in the directory: %w", err)
			}
			recovery = ""
		}
	}
	protector, input := []string{"-protectors", "-add", drive, "-TPM"}, ""
	switch step.Protector {
	case "tpm-pin": // typed twice, as by a person: it must not be on a command line
		protector, input = []string{"-protectors", "-add", drive, "-TPMAndPIN"}, step.PIN+"\r\n"+step.PIN+"\r\n"
	case "password":
		protector, input = []string{"-protectors", "-add", drive, "-Password"}, step.Password+"\r\n"+step.Password+"\r\n"
	}
	if _, err := run(input, protector...); err != nil {
		return "", fmt.Errorf("add the protector: %w", err)
	}
	cipher := step.Cipher
	if cipher == "" {
		cipher = "xts-aes-256"
	}
	args := []string{"-on", drive, "-EncryptionMethod", bdeCipher(cipher), "-SkipHardwareTest"}
	if step.UsedOnly {
		args = append(args, "-UsedSpaceOnly")
	}
	if step.Wait {
		args = append(args, "-Synchronous")
	}
	if _, err := run("", args...); err != nil {
		return "", fmt.Errorf("encrypt drive %s: %w", drive, err)
	}
	return recovery, nil
}

// bdeCipher is what manage-bde calls a cipher.
func bdeCipher(name string) string {
	return map[string]string{"xts-aes-128": "xts_aes128", "xts-aes-256": "xts_aes256", "aes-cbc-128": "aes128", "aes-cbc-256": "aes256"}[name]
}

// SuspendBitLocker lets a drive be read without its key for some restarts.
func (w *Windows) SuspendBitLocker(ctx context.Context, drive string, restarts int) error {
	return must(ctx, w.programs, Program{Args: []string{"manage-bde", "-protectors", "-disable", drive, "-RebootCount", strconv.Itoa(max(restarts, 1))}})
}

// JoinDomain joins the running Windows to a domain. The password goes through the
// environment: command lines can be read by everybody.
func (w *Windows) JoinDomain(ctx context.Context, d *sequence.Domain) error {
	script := `$ErrorActionPreference = 'Stop'
$secret = ConvertTo-SecureString $env:CP_JOIN_PASSWORD -AsPlainText -Force
$who = New-Object System.Management.Automation.PSCredential($env:CP_JOIN_ACCOUNT, $secret)
$where = @{ DomainName = $env:CP_JOIN_DOMAIN; Credential = $who; Force = $true }
if ($env:CP_JOIN_OU) { $where.OUPath = $env:CP_JOIN_OU }
Add-Computer @where
`
	p := Program{Args: []string{"powershell", "-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-Command", "-"},
		Input: strings.NewReader(script + "\r\n"),
		Env:   []string{"CP_JOIN_DOMAIN=" + d.Name, "CP_JOIN_ACCOUNT=" + d.Account, "CP_JOIN_PASSWORD=" + d.Password, "CP_JOIN_OU=" + d.OU}}
	if err := must(ctx, w.programs, p); err != nil {
		return fmt.Errorf("join domain %s: %w", d.Name, err)
	}
	return nil
}

// Sysprep takes out of the running Windows what may be there once only. Windows
// shuts down by itself later, not by Sysprep.
func (w *Windows) Sysprep(ctx context.Context, program, mode, unattend string) error {
	args := []string{program, "/generalize", "/quit", "/" + mode}
	if unattend != "" {
		args = append(args, "/unattend:"+unattend)
	}
	return must(ctx, w.programs, Program{Args: args})
}

// EnableBitLocker is for Windows.
func (l *Linux) EnableBitLocker(context.Context, string, *sequence.EnableBitLocker) (string, error) {
	return "", ErrNotWindows
}

// SuspendBitLocker is for Windows.
func (l *Linux) SuspendBitLocker(context.Context, string, int) error { return ErrNotWindows }

// JoinDomain is for Windows.
func (l *Linux) JoinDomain(context.Context, *sequence.Domain) error { return ErrNotWindows }

// Sysprep is for Windows.
func (l *Linux) Sysprep(context.Context, string, string, string) error { return ErrNotWindows }
