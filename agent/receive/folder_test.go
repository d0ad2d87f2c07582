//go:build !windows

package receive

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/agent"
	"castpoint/agent/target"
	"castpoint/content"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/test/joinserver"
	"castpoint/web"
	"castpoint/web/admin/sessions"
	"castpoint/web/session"
)

// withFolder adds a content of several files to a server and makes a token for it.
func withFolder(t *testing.T, s *joinserver.Server, files map[string]string) (token string) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	ct, err := s.Config.Library.Add(t.Context(), content.AddRequest{Kind: content.KindDriverPackage, Path: dir, Name: "drivers",
		Distribution: content.Distribution{Multicast: true}})
	if err != nil {
		t.Fatal(err)
	}
	var k sessions.CreatedToken
	if err := s.Client().Call(t.Context(), http.MethodPost, "/tokens", sessions.CreateToken{Content: ct.ID}, &k); err != nil {
		t.Fatal(err)
	}
	return k.Token
}

// driverFiles are more files than are open at once, some of several blocks, some
// the same, some empty.
func driverFiles() map[string]string {
	rng := rand.NewChaCha8([32]byte{9})
	text := func(n int) string {
		b := make([]byte, n)
		_, _ = rng.Read(b)
		return string(b)
	}
	files := map[string]string{"empty": "", "deep/er/empty": "", "big.cab": text(3*joinserver.BlockSize + 11), "deep/er/still/a.inf": text(700)}
	for i := range 128 {
		files["net/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+string(rune('0'+i/26))+".sys"] = text(100 + i)
	}
	files["copy of big.cab"] = files["big.cab"]
	return files
}

// inFolder checks that the folder has these files and nothing else, and that nothing
// is left beside it.
func inFolder(t *testing.T, out string, files map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(os.DirFS(out), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(out, path))
		got[path] = string(b)
		return err
	})
	if err != nil || !maps.Equal(got, files) {
		t.Errorf("%d files, want %d: %v", len(got), len(files), err)
	}
	beside, err := filepath.Glob(out + ".*")
	if err != nil || len(beside) > 0 {
		t.Errorf("left: %v, %v", beside, err)
	}
}

func TestReceiveFolder(t *testing.T) {
	files := driverFiles()
	for _, how := range []string{"multicast", "unicast"} {
		t.Run(how, func(t *testing.T) {
			s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, nil)
			var events []agent.Event
			o := options(t, s, &events)
			o.Token, o.Out, o.VerifySHA256 = withFolder(t, s, files), filepath.Join(t.TempDir(), "drivers"), true
			if how == "unicast" {
				o.Interface = "none0"
			}
			res, err := Receive(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			inFolder(t, o.Out, files)
			if res.Files != len(files) || res.SHA256 != "" || (res.Unicast > 0) != (how == "unicast") {
				t.Errorf("%+v", res)
			}
			last := events[len(events)-1]
			if last.Kind != agent.EventDone || last.Files != len(files) || last.Bytes != last.Size {
				t.Errorf("%+v", last)
			}
			// A folder that is there is not written into.
			o.Token, o.Force = s.Token(t), true
			if _, err := Receive(t.Context(), o); !errors.Is(err, agent.ErrUsage) {
				t.Error(err)
			}
		})
	}
}

// An interrupted folder goes on with what it has; what does not belong into it is
// cleared away.
func TestFolderGoesOn(t *testing.T) {
	files := driverFiles()
	files["huge"] = strings.Repeat("0123456789abcdef", 60*joinserver.BlockSize/16)
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, func(c *web.Config) { c.Sessions.Rate = 60e6 })
	var events []agent.Event
	o := options(t, s, &events)
	o.Token, o.Out = withFolder(t, s, files), filepath.Join(t.TempDir(), "drivers")
	ctx, cancel := context.WithCancel(t.Context())
	o.Report = func(e agent.Event) {
		if e.Blocks > 30 {
			cancel()
		}
	}
	if _, err := Receive(ctx, o); !errors.Is(err, agent.ErrPartly) {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Out+target.PartSuffix+"/stray", []byte("?"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Token = ""
	o.Report = func(e agent.Event) { events = append(events, e) }
	res, err := Receive(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Resumed < 30 {
		t.Errorf("%+v", res)
	}
	inFolder(t, o.Out, files)
}

func TestFolderIsKeptToOneReceive(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	f, err := target.OpenFolder(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.OpenFolder(out); !errors.Is(err, agent.ErrRefused) {
		t.Error(err)
	}
	if err := f.Discard(); err != nil {
		t.Fatal(err)
	}
	if beside, _ := filepath.Glob(out + "*"); len(beside) > 0 {
		t.Errorf("left: %v", beside)
	}
}

// Names that a server must not give are refused before anything is written.
func TestFolderNames(t *testing.T) {
	objects := []block.Object{{Size: 5, BlockSize: joinserver.BlockSize}}
	for _, name := range []string{"../up", "/etc/passwd", "a/../../b", "", ".", "a//b", "a/./b", "nul\x00"} {
		f, err := target.OpenFolder(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		adm := &multicast.Admission{Objects: objects, Folder: true, Files: []multicast.File{{Name: name}}}
		if _, err := f.Targets(adm); !errors.Is(err, agent.ErrRefused) {
			t.Errorf("%q: %v", name, err)
		}
		adm.Files = []multicast.File{{Name: "a"}, {Name: "a"}}
		if _, err := f.Targets(adm); !errors.Is(err, agent.ErrRefused) {
			t.Errorf("twice the same name: %v", err)
		}
		if err := f.Discard(); err != nil {
			t.Error(err)
		}
	}
	// A link in the folder does not lead out of it.
	dir := t.TempDir()
	f, err := target.OpenFolder(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(f.Where(), "link")); err != nil {
		t.Fatal(err)
	}
	list, err := f.Targets(&multicast.Admission{Objects: objects, Folder: true, Files: []multicast.File{{Name: "link/file"}}})
	if err == nil {
		_, err = list[0].WriteAt([]byte("12345"), 0)
	}
	if _, there := os.Stat(filepath.Join(dir, "file")); there == nil {
		t.Errorf("written outside of the folder: %v", err)
	}
	if err := f.Discard(); err != nil {
		t.Error(err)
	}
}

// A folder goes neither to a program nor over a file, and the token is not used up.
func TestFolderIsRefusedElsewhere(t *testing.T) {
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, nil)
	var events []agent.Event
	o := options(t, s, &events)
	o.Token = withFolder(t, s, map[string]string{"a.inf": "1", "b": "2"})
	o.Out, o.Pipe = "", []string{"cat"}
	if _, err := Receive(t.Context(), o); !errors.Is(err, agent.ErrRefused) || !strings.Contains(err.Error(), "folder") {
		t.Error(err)
	}
	o.Pipe, o.Out = nil, filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(o.Out, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Force = true
	if _, err := Receive(t.Context(), o); !errors.Is(err, agent.ErrRefused) {
		t.Error(err)
	}
	o.Out += "-new"
	if _, err := Receive(t.Context(), o); err != nil {
		t.Error(err)
	}
	if k := kinds(events); !slices.Contains(k, agent.EventDone) {
		t.Error(k)
	}
}

// What a machine comes back to may be a session of other contents beside its own.
func TestAnotherSessionOfTheSameFiles(t *testing.T) {
	files := driverFiles()
	files["huge"] = strings.Repeat("0123456789abcdef", 60*joinserver.BlockSize/16)
	s := joinserver.New(t, 40*joinserver.BlockSize, joinserver.Multicast, func(c *web.Config) { c.Sessions.Rate = 60e6 })
	token := withFolder(t, s, files)
	client := s.Client()
	var info session.Info
	if err := client.Call(t.Context(), http.MethodPost, "/sessions", sessions.StartSession{Content: "drivers", Also: []string{"image"}}, &info); err != nil {
		t.Fatal(err)
	}
	var events []agent.Event
	o := options(t, s, &events)
	o.Token, o.Out, o.VerifySHA256, o.NoUnicast = token, filepath.Join(t.TempDir(), "drivers"), true, true
	cancelled := make(chan error, 1)
	o.Report = func(e agent.Event) {
		events = append(events, e)
		if e.Blocks < 20 || info.ID == "" {
			return
		}
		id := info.ID
		info.ID = ""
		// The session's end waits for no member, so this one may wait for its answer: on a
		// slow host it would else have everything before.
		cancelled <- client.Call(context.Background(), http.MethodDelete, "/sessions/"+id, nil, nil)
	}
	if _, err := Receive(t.Context(), o); err == nil || !strings.Contains(err.Error(), "was cancelled by") {
		t.Fatalf("of a session that was cancelled: %v", err)
	}
	if err := <-cancelled; err != nil {
		t.Fatal(err)
	}

	// The same files in another session, where they have other numbers.
	if err := client.Call(t.Context(), http.MethodPost, "/sessions", sessions.StartSession{Content: "image", Also: []string{"drivers"}}, nil); err != nil {
		t.Fatal(err)
	}
	var k sessions.CreatedToken
	if err := client.Call(t.Context(), http.MethodPost, "/tokens", sessions.CreateToken{Content: "drivers"}, &k); err != nil {
		t.Fatal(err)
	}
	o.Token, o.Report = k.Token, func(e agent.Event) { events = append(events, e) }
	if _, err := Receive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	inFolder(t, o.Out, files)
}
