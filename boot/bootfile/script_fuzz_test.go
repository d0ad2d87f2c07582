package bootfile

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

// FuzzScript: names and messages of people's making get into the scripts of iPXE and
// GRUB as text. Each line begins with a word that the scripts have anyway, and there
// is no variable that they have not.
func FuzzScript(f *testing.F) {
	f.Add("Linux", "6.8", "castpoint", "", "quiet")
	f.Add("x\nshell\n${cmd} || poweroff ; # <b>", "1\r\nreboot", "a\nshell", "no\nshell ${x}", "a||b")
	f.Add("`id` $(id) ${net0/mac}", "'; reboot; '", "\"; reboot; \"", "\xff\u202e", "root=$root")
	f.Add("}\nchainloader /x", "{", "\\", "\x00", "a{b")
	loaders := []string{"grubx64.efi", "shimx64.efi", "ipxe.efi"}
	dir := f.TempDir()
	for _, name := range loaders {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("loader"), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	held, err := source.NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	scripts := func(tb testing.TB, name, version, title, refusal, arg string) (all []string) {
		lib := &bootable.Library{Contents: []*content.Content{{ID: "b1", Kind: content.KindBootImage, Name: name, Version: version, Arch: "amd64", Files: []content.File{{Role: content.RoleKernel, Name: "vmlinuz", Size: 5}, {Role: content.RoleInitrd, Name: "initrd", Size: 6}}}}}
		files, err := New(Config{Loaders: held, Library: lib, Title: title, Ticket: func(context.Context, boot.Client) (boot.Ticket, error) {
			if refusal != "" {
				return boot.Ticket{}, errors.New(refusal)
			}
			return boot.Ticket{Server: "https://192.0.2.1:8443", Token: arg}, nil
		}})
		if err != nil {
			return nil
		}
		for _, of := range []string{"ipxe/efi-x64/52-54-00-ab-cd-ef", "grub/efi-x64/52-54-00-ab-cd-ef/grub.cfg"} {
			file, err := files.Open(tb.Context(), of, boot.Client{})
			if err != nil {
				tb.Fatal(err)
			}
			b, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size))
			if err != nil {
				tb.Fatal(err)
			}
			_ = file.Close()
			all = append(all, string(b))
		}
		return all
	}
	words := make([]map[string]bool, 2)
	variables := make([]map[string]bool, 2)
	variable := regexp.MustCompile(`\$\{?[A-Za-z0-9/:_-]*`)
	for _, refusal := range []string{"", "nothing for you"} {
		for i, s := range scripts(f, "Linux", "6.8", "castpoint", refusal, "token") {
			if words[i] == nil {
				words[i], variables[i] = map[string]bool{}, map[string]bool{}
			}
			for line := range strings.Lines(s) {
				words[i][firstWord(line)] = true
			}
			for _, v := range variable.FindAllString(s, -1) {
				variables[i][v] = true
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, version, title, refusal, arg string) {
		for i, s := range scripts(t, name, version, title, refusal, arg) {
			for line := range strings.Lines(s) {
				if w := firstWord(line); !words[i][w] {
					t.Fatalf("a line that begins with %q:\n%s", w, s)
				}
			}
			for _, v := range variable.FindAllString(s, -1) {
				if !variables[i][v] {
					t.Fatalf("a variable %q:\n%s", v, s)
				}
			}
		}
	})
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return word
}
