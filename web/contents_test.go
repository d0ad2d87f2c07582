package web

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"castpoint/agent/protocol"
	"castpoint/multicast"
	"castpoint/test/contents"
	"castpoint/web/admin/sessions"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/session"
)

// A member gets the names and hashes of its own content, and the layout of all that
// the session sends.
func TestSessionOfSeveralContents(t *testing.T) {
	p := newPoint(t, contents.Free, nil)
	drivers := contents.AddFolder(t, p.lib, "drivers", map[string]string{"net/a.inf": "first", "net/b.sys": "second", "copy/a.inf": "first", "empty": ""})
	var s session.Info
	client := p.Client()
	if err := client.Call(t.Context(), http.MethodPost, "/sessions", sessions.StartSession{Content: "image", Also: []string{"drivers"}, MinMembers: 2}, &s); err != nil {
		t.Fatal(err)
	}
	if s.Content != p.ct.ID || len(s.Also) != 1 || s.Also[0] != drivers.ID || s.Objects != 4 {
		t.Errorf("session %+v", s)
	}
	image := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{})})
	folder := p.joins(t, multicast.JoinRequest{Token: p.token(t, admit.Token{Content: drivers.ID})})
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
