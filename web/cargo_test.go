package web

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/multicast"
	"castpoint/web/api"
)

// addFolder adds a package of the given files.
func addFolder(t *testing.T, lib *content.Library, name string, files map[string]string) *content.Content {
	t.Helper()
	dir := t.TempDir()
	for path, data := range files {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ct, err := lib.Add(t.Context(), content.AddRequest{Kind: content.KindPackage, Path: dir, Name: name, Distribution: free})
	if err != nil {
		t.Fatal(err)
	}
	return ct
}

// A member gets the names and hashes of its own content, and the layout of all that
// the session sends.
func TestSessionOfSeveralContents(t *testing.T) {
	p := newPoint(t, free, nil)
	drivers := addFolder(t, p.lib, "drivers", map[string]string{"net/a.inf": "first", "net/b.sys": "second", "copy/a.inf": "first", "empty": ""})
	var s SessionInfo
	client := p.Client()
	if err := client.Call(t.Context(), http.MethodPost, "/sessions", StartSession{Content: "image", Also: []string{"drivers"}, MinMembers: 2}, &s); err != nil {
		t.Fatal(err)
	}
	if s.Content != p.ct.ID || len(s.Also) != 1 || s.Also[0] != drivers.ID || s.Objects != 4 {
		t.Errorf("session %+v", s)
	}
	image := p.joins(t, multicast.JoinRequest{Token: p.token(t, Token{})})
	folder := p.joins(t, multicast.JoinRequest{Token: p.token(t, Token{Content: drivers.ID})})
	if image.Session.ID != folder.Session.ID || fmt.Sprintf("%08x", image.Session.ID) != s.ID {
		t.Error("the two contents have sessions of their own")
	}
	if len(image.Files) != 1 || image.Folder || image.Files[0].Object != 0 || len(image.Objects[0].Hashes) == 0 || len(image.Objects[1].Hashes)+len(image.Objects[2].Hashes) != 0 {
		t.Errorf("image: %+v", image)
	}
	if len(folder.Files) != 4 || !folder.Folder || len(folder.Objects) != 4 || len(folder.Objects[0].Hashes) != 0 {
		t.Errorf("drivers: %+v", folder)
	}
	if err := folder.Complete(); err != nil {
		t.Error(err)
	}
	names := map[string]int{}
	for _, f := range folder.Files {
		names[f.Name] = f.Object
		if f.Object == 0 {
			t.Errorf("%s is the image", f.Name)
		}
	}
	if names["net/a.inf"] != names["copy/a.inf"] || names["net/a.inf"] == names["net/b.sys"] {
		t.Errorf("objects of the names: %v", names)
	}
	// Unicast gives each member its own objects.
	second := multicast.PathObject + folder.Objects[names["net/b.sys"]].SHA256
	if status, body := p.do(t, http.MethodGet, second, folder.Ticket, nil, "Range", "bytes=0-3"); status != http.StatusPartialContent || !bytes.Equal(body, []byte("seco")) {
		t.Errorf("%d %q", status, body)
	}
	p.refused(t, 403, protocol.CodeTokenOther, http.MethodGet, second, image.Ticket, nil)
	// A content that is being sent cannot be removed, whichever of the two it is.
	if err := client.Call(t.Context(), http.MethodDelete, "/contents/"+drivers.ID, nil, nil); api.AsProblem(err).Code != protocol.CodeRefused {
		t.Error(err)
	}
	again := p.joins(t, multicast.JoinRequest{Ticket: folder.Ticket})
	if again.Session.ID != folder.Session.ID || again.Member.ID == folder.Member.ID {
		t.Errorf("again %+v", again)
	}
}

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
		p, err := newParcel(&content.Content{Kind: c.kind, Files: c.files})
		if err != nil {
			t.Error(c.want, err)
			continue
		}
		var got []string
		for _, f := range p.files {
			got = append(got, f.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || p.folder != (len(c.want) > 1) || p.digest == (content.Digest{}) {
			t.Errorf("%+v, want %v", p, c.want)
		}
	}
	_, err := newParcel(&content.Content{Kind: content.KindPackage})
	wantCode(t, err, protocol.CodeRefused)
}

// Of a content of very many files few are open.
func TestShelf(t *testing.T) {
	lib, _, _ := library(t, 1000, free)
	files := map[string]string{}
	for i := range 3 * maxOpen {
		files[fmt.Sprintf("%d/file", i)] = fmt.Sprint("content ", i)
	}
	ct := addFolder(t, lib, "many", files)
	k, err := NewKeeper(*loopback(), lib, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c, adm, err := k.admit(parcelOf(t, ct), multicast.Candidate{Name: "pc"}, netip.Addr{}, nil)
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
