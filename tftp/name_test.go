package tftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"castpoint/tftp/wire"
)

func TestCleanName(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"bootmgfw.efi", "bootmgfw.efi", nil},
		{`\Boot\BCD`, "Boot/BCD", nil},
		{`/\Boot\boot.sdi`, "Boot/boot.sdi", nil},
		{`\EFI\Microsoft\Boot\Fonts\wgl4_boot.ttf`, "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", nil},
		{"//grub//grub.cfg", "grub/grub.cfg", nil},
		{"./a/./b", "a/b", nil},
		{`a\/b`, "a/b", nil},
		{"a b", "a b", nil},
		{"...", "...", nil},
		{"a..b", "a..b", nil},
		{"C:/a", "C:/a", nil},
		{"../etc/passwd", "", ErrForbidden},
		{`..\..\etc`, "", ErrForbidden},
		{"a/../b", "", ErrForbidden}, // refused, although it would lead inside
		{"a/..", "", ErrForbidden},
		{"", "", ErrNotFound},
		{"/", "", ErrNotFound},
		{`\\`, "", ErrNotFound},
		{".", "", ErrNotFound},
		{"a\nb", "", ErrIllegal},
		{"a\x7f", "", ErrIllegal},
		{strings.Repeat("a", maxName+1), "", ErrIllegal},
	} {
		got, err := cleanName(tt.name)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestOrdinaryMiss(t *testing.T) {
	for path, want := range map[string]bool{
		"EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b": true,
		"EFI/Microsoft/Boot/SecureBootPolicy.p7b":         true,
		"efi/microsoft/boot/skusipolicy.P7B":              true,
		"EFI/Microsoft/Boot/Policies/UnlockToken.pol":     true,
		"en-US/bootmgfw.efi.MUI":                          true,
		"BCD":                                             true,
		"EFI/Microsoft/Recovery/BCD":                      true,
		"ipxe/autoexec.ipxe":                              true,
		"Boot/BCD":                                        false,
		"Boot/boot.wim":                                   false,
		"EFI/Microsoft/Boot/boot.stl":                     false, // 24H2 needs it
		"bootmgfw.efi":                                    false,
		"other/x.p7b":                                     false,
	} {
		if got := ordinaryMiss(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	secret := "/var/lib/castpoint/objects/ab/cdef"
	for _, tt := range []struct {
		err  error
		code wire.Code
		text string
	}{
		{ErrNotFound, wire.CodeNotFound, "file not found: a/b"},
		{fmt.Errorf("%w: no boot image for UEFI ARM64", ErrNotFound), wire.CodeNotFound, "file not found: no boot image for UEFI ARM64"},
		{&fs.PathError{Op: "open", Path: secret, Err: fs.ErrNotExist}, wire.CodeNotFound, "file not found: a/b"},
		{ErrForbidden, wire.CodeForbidden, "access denied: a/b"},
		{fmt.Errorf("%w: this device is not approved", ErrForbidden), wire.CodeForbidden, "access denied: this device is not approved"},
		{&fs.PathError{Op: "open", Path: secret, Err: fs.ErrPermission}, wire.CodeForbidden, "the server may not read this file: a/b"},
		{fmt.Errorf("write: %w", syscall.ENOSPC), wire.CodeNoSpace, "the server's disk is full"},
		{tooLarge(10), wire.CodeNoSpace, "no space left for the upload: uploads may have 10 bytes"},
		{ErrIllegal, wire.CodeIllegal, "illegal request"},
		{fmt.Errorf("%w: log.txt", ErrExists), wire.CodeExists, "file exists already: log.txt"},
		{&fs.PathError{Op: "open", Path: secret, Err: fs.ErrExist}, wire.CodeExists, "file exists already: a/b"},
		{ErrBusy, wire.CodeUndefined, "server is busy, try again later"},
		{ErrShutdown, wire.CodeUndefined, "server is shutting down"},
		{fmt.Errorf("open: %w", context.Canceled), wire.CodeUndefined, "server is shutting down"},
		{errors.New("database " + secret + " is locked"), wire.CodeUndefined, "server error, see the server's log: a/b"},
		{errNoUploads, wire.CodeForbidden, "access denied: this server does not take uploads"},
	} {
		code, text := describe(tt.err, "a/b")
		if code != tt.code || text != tt.text {
			t.Errorf("%v: %d %q, want %d %q", tt.err, code, text, tt.code, tt.text)
		}
		if strings.Contains(text, secret) {
			t.Errorf("%v: tells a path of the server: %q", tt.err, text)
		}
	}
	if _, text := describe(fmt.Errorf("%w: %s", ErrNotFound, strings.Repeat("é\n", 500)), "a"); len(text) > maxText || strings.ContainsAny(text, "é\n") {
		t.Errorf("text is not fit for a screen: %q", text)
	}
}

func FuzzName(f *testing.F) {
	f.Add("../../etc/passwd")
	f.Add(`\Boot\.\BCD`)
	f.Fuzz(func(t *testing.T, name string) {
		path, err := cleanName(name)
		if err != nil {
			return
		}
		if path == "" || strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\x00") ||
			strings.Contains("/"+path+"/", "/../") {
			t.Fatalf("name %q became %q", name, path)
		}
		if again, err := cleanName(path); err != nil || again != path {
			t.Fatalf("%q cleaned again is %q, %v", path, again, err)
		}
	})
}
