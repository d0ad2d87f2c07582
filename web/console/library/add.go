package library

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"castpoint/content"
	"castpoint/web/admin/contents"
	"castpoint/web/console/frame"
)

// addContentData is what the page for adding shows.
type addContentData struct {
	Kinds []kindOfContent
}

// kindOfContent is a choice of a form.
type kindOfContent struct {
	Kind   content.Kind
	Text   string
	Chosen bool
}

// contentKinds says what each kind is for.
var contentKinds = []kindOfContent{
	{content.KindOSImage, "OS image: a WIM for the disks of machines", false},
	{content.KindBootImage, "Boot image: a Windows PE WIM or setup ISO", false},
	{content.KindOSUpgrade, "OS upgrade: an ISO or folder of setup media", false},
	{content.KindDriverPackage, "Driver package: a folder of drivers", false},
	{content.KindPackage, "Package: any folder", false},
}

func (p *Library) addPage(r *http.Request) (*frame.Page, error) {
	kinds := slices.Clone(contentKinds)
	for i := range kinds {
		kinds[i].Chosen = string(kinds[i].Kind) == r.URL.Query().Get("kind")
	}
	return &frame.Page{Title: "Add a content", Nav: "/contents", Body: "add", Data: &addContentData{kinds}}, nil
}

// addRequest reads the fields that both forms for adding have.
func addRequest(f url.Values) (contents.AddContent, error) {
	req := contents.AddContent{
		Kind: content.Kind(f.Get("kind")), Name: strings.TrimSpace(f.Get("name")), Version: strings.TrimSpace(f.Get("version")), Comment: strings.TrimSpace(f.Get("comment")),
		Path: strings.TrimSpace(f.Get("path")), Initrd: strings.TrimSpace(f.Get("initrd")), SHA256: strings.ToLower(strings.TrimSpace(f.Get("sha256"))),
		Distribution: content.Distribution{Multicast: f.Has("multicast"), Encrypt: f.Has("encrypt"), MulticastOnly: f.Has("multicast_only")},
	}
	if text := strings.TrimSpace(f.Get("index")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return req, frame.Wrong("image %q: want its number inside the WIM, from 1", text)
		}
		req.Index = n
	}
	return req, nil
}

func (p *Library) add(r *http.Request) (to, said string, err error) {
	req, err := addRequest(r.PostForm)
	if err != nil {
		return "", "", err
	}
	if req.Path == "" {
		return "", "", frame.Wrong("say where the file is: a path on the server, or a URL")
	}
	p.Jobs().Start(r.Context(), "add "+path.Base(req.Path), p.Me(r).Name, func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var ct content.Content
		err := p.API().Stream(ctx, http.MethodPost, "/contents", req, progress, &ct)
		return "added as " + ct.ID, contentPath(ct.ID), err
	})
	return "/contents", "Adding " + path.Base(req.Path) + ".", nil
}

// maxField is the longest field of the form of an upload, in bytes.
const maxField = 64 << 10

// upload takes a file from the script, which shows its progress and the token that a
// form cannot: the token is looked for before any field is read. The fields come
// before the file, and the file goes on to the library while it comes in: nothing of
// it is kept in memory.
func (p *Library) upload(w http.ResponseWriter, r *http.Request) {
	limit := http.NewResponseController(w)
	_ = limit.SetReadDeadline(time.Time{}) // an image takes as long as it takes
	form, err := r.MultipartReader()
	if err != nil {
		p.Fail(w, r, frame.Wrong("the upload cannot be read: %v", err))
		return
	}
	fields := url.Values{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			p.Fail(w, r, frame.Wrong("no file was chosen"))
			return
		}
		if err != nil {
			p.Fail(w, r, frame.Wrong("the upload ended early: %v", err))
			return
		}
		if part.FileName() == "" {
			value, err := io.ReadAll(io.LimitReader(part, maxField))
			if err != nil {
				p.Fail(w, r, frame.Wrong("the upload ended early: %v", err))
				return
			}
			fields.Add(part.FormName(), string(value))
			continue
		}
		req, err := addRequest(fields)
		if err == nil {
			err = p.takeUpload(r, req, path.Base(strings.ReplaceAll(part.FileName(), `\`, "/")), part)
		}
		if err != nil {
			p.Fail(w, r, err)
			return
		}
		frame.Say(w, r, "Uploaded "+part.FileName()+"; it is being added.")
		// The script goes there itself: were it redirected, nobody would read what was
		// said.
		w.Header().Set("Location", "/contents")
		w.WriteHeader(http.StatusCreated)
		return
	}
}

// maxDrain is how much of a refused upload is read, in bytes.
const maxDrain = 1 << 30

// takeUpload starts the job that takes a file, and returns when the file has been
// read or the job has failed.
func (p *Library) takeUpload(r *http.Request, req contents.AddContent, name string, file io.Reader) error {
	q := url.Values{"file": {name}, "kind": {string(req.Kind)}, "name": {req.Name}, "version": {req.Version}, "comment": {req.Comment}}
	if req.Index > 0 {
		q.Set("index", strconv.Itoa(req.Index))
	}
	for flag, on := range map[string]bool{"multicast": req.Distribution.Multicast, "encrypt": req.Distribution.Encrypt, "multicast_only": req.Distribution.MulticastOnly} {
		if on {
			q.Set(flag, "true")
		}
	}
	body := &readToEnd{from: file, size: r.ContentLength, end: make(chan struct{})}
	failed := make(chan error, 1)
	id := p.Jobs().Start(r.Context(), "add "+name, p.Me(r).Name, func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var ct content.Content
		body.progress = progress
		err := p.API().Upload(ctx, q, body, &ct)
		failed <- err
		return "added as " + ct.ID, contentPath(ct.ID), err
	})
	select {
	case <-body.end:
		if body.err != nil {
			p.Jobs().Cancel(id)
			<-failed //nolint:errcheck // it says only that the body has ended, too
			return frame.Wrong("the upload ended early: %v", body.err)
		}
		return nil
	case err := <-failed:
		if err != nil {
			p.Jobs().Dismiss(id)
			// A browser hears the answer when it has sent everything.
			_, _ = io.CopyN(io.Discard, file, maxDrain)
		}
		return err
	}
}

// readToEnd tells how far what it reads from is, and when it has ended.
type readToEnd struct {
	from     io.Reader
	size     int64 // of the request, which is a little more
	done     int64
	progress func(done, total int64)
	end      chan struct{} // closed at the end
	err      error         // other than io.EOF; readable when end is closed
	once     sync.Once
}

func (r *readToEnd) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.done += int64(n)
	r.progress(r.done, max(r.size, r.done))
	if err != nil {
		r.progress(0, 0) // what comes now is not known
		r.once.Do(func() {
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
			close(r.end)
		})
	}
	return n, err
}
