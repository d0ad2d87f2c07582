package session

import (
	"fmt"
	"net/netip"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/multicast/sender"
	"castpoint/test/contents"
)

// What machines receive of a boot image is the image, not what firmware loads
// beside it.
func TestParcels(t *testing.T) {
	file := func(role content.Role, name string) content.File {
		return content.File{Role: role, Name: name, Size: 1, Digest: content.Digest{byte(len(name))}}
	}
	for _, c := range []struct {
		kind  content.Kind
		files []content.File
		want  []string
	}{
		{content.KindOSImage, []content.File{file(content.RoleImage, "a.swm"), file(content.RolePart, "a2.swm")}, []string{"a.swm", "a2.swm"}},
		{content.KindBootImage, []content.File{file(content.RoleImage, "boot.wim"), file(content.RoleFile, "bootmgfw.efi"), file(content.RoleAttached, "x/y.inf")}, []string{"boot.wim"}},
		{content.KindBootImage, []content.File{file(content.RoleKernel, "linux"), file(content.RoleInitrd, "initrd.img")}, []string{"linux", "initrd.img"}},
		{content.KindPackage, []content.File{file(content.RoleFile, "one")}, []string{"one"}},
	} {
		p, err := NewParcel(&content.Content{Kind: c.kind, Files: c.files})
		if err != nil {
			t.Error(c.want, err)
			continue
		}
		var got []string
		for _, f := range p.files {
			got = append(got, f.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || p.Folder != (len(c.want) > 1) || p.Digest == (content.Digest{}) {
			t.Errorf("%+v, want %v", p, c.want)
		}
	}
	_, err := NewParcel(&content.Content{Kind: content.KindPackage})
	wantRefusal(t, err, protocol.CodeRefused)
}

// Of a content of very many files few are open.
func TestShelf(t *testing.T) {
	lib, _, _ := contents.New(t, 1000, contents.Free)
	files := map[string]string{}
	for i := range 3 * maxOpen {
		files[fmt.Sprintf("%d/file", i)] = fmt.Sprint("content ", i)
	}
	ct := contents.AddFolder(t, lib, "many", files)
	k, err := NewKeeper(onLoopback(), lib, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c, adm, err := k.Admit(parcelOf(t, ct), sender.Candidate{Name: "pc"}, netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{library: lib}
	sources, err := s.sources(c.cargo.objects)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for _, f := range adm.Files {
			buf := make([]byte, adm.Objects[f.Object].Size)
			if _, err := sources[f.Object].ReadAt(buf, 0); err != nil || string(buf) != files[f.Name] {
				t.Fatalf("round %d, %s: %q, %v", round, f.Name, buf, err)
			}
			if len(s.open) > maxOpen {
				t.Fatalf("%d files are open", len(s.open))
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
