package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/web"
)

func (c *Console) contentRoutes() {
	c.page("GET /contents", c.contents)
	c.page("GET /contents/add", c.addContentPage)
	c.page("GET /contents/{id}", c.content)
	c.action("POST /contents", c.addContent)
	c.mux.HandleFunc("POST /contents/upload", c.upload)
	c.action("POST /contents/{id}", c.setContent)
	c.action("POST /contents/{id}/validate", c.validate)
	c.action("POST /contents/{id}/repair", c.repair)
	c.action("POST /contents/{id}/remove", c.removeContent)
	c.action("POST /contents/{id}/token", c.createToken)
	c.action("POST /jobs/{id}/cancel", func(r *http.Request) (string, string, error) {
		if !c.jobs.cancel(r.PathValue("id")) {
			return back(r, "/contents"), "It was over already.", nil
		}
		return back(r, "/contents"), "Cancelled.", nil
	})
	c.action("POST /jobs/{id}/dismiss", func(r *http.Request) (string, string, error) {
		c.jobs.dismiss(r.PathValue("id"))
		return back(r, "/contents"), "", nil
	})
}

func contentPath(id string) string { return "/contents/" + url.PathEscape(id) }

// contentsData is what the list of contents shows.
type contentsData struct {
	Contents []*content.Content
	Jobs     []job
	Assigned string
	Problems []string
}

func (c *Console) contents(r *http.Request) (*page, error) {
	d := contentsData{Jobs: c.jobs.list(true)}
	var st web.Status
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/status", nil, &st); err != nil {
		return nil, err
	}
	d.Assigned, d.Problems = st.Assigned, st.Problems
	var err error
	d.Contents, err = all[*content.Content](r.Context(), c, "/contents")
	return &page{title: "Contents", nav: "/contents", body: "contents", data: &d, live: liveRather}, err
}

// contentData is what the page of a content shows.
type contentData struct {
	*content.Content
	Jobs     []job
	Report   *winpe.Report // of a Windows boot image
	NoReport string
	Sessions []web.SessionInfo // of it that run
	Assigned bool
	Castable bool // one file, which a session can send
}

func (c *Console) content(r *http.Request) (*page, error) {
	d := contentData{Content: &content.Content{}, Jobs: c.jobs.list(false)}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, contentPath(r.PathValue("id")), nil, d.Content); err != nil {
		return nil, err
	}
	var st web.Status
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/status", nil, &st); err != nil {
		return nil, err
	}
	d.Assigned = st.Assigned == d.ID
	d.Castable = len(d.Files) == 1
	list, err := all[web.SessionInfo](r.Context(), c, "/sessions")
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Content == d.ID && s.Ended == nil {
			d.Sessions = append(d.Sessions, s)
		}
	}
	d.Report, d.NoReport = c.report(r, d.Content)
	return &page{title: d.Name, nav: "/contents", body: "content", data: &d, live: liveRather}, nil
}

// reports remembers what was found in boot images: reading their loaders and
// checking the signatures takes too long for a page that is drawn each second.
type reports struct {
	mu   sync.Mutex
	byID map[string]keptReport
}

type keptReport struct {
	revision int
	read     time.Time
	report   *winpe.Report
	problem  string
}

// reportLife is how long a report is shown: the folders of further boot files may
// change.
const reportLife = time.Minute

// report says what machines can boot a Windows boot image, or why that is not
// known; neither for other contents.
func (c *Console) report(r *http.Request, ct *content.Content) (*winpe.Report, string) {
	if _, ok := ct.File(content.RoleImage); ct.Kind != content.KindBootImage || !ok {
		return nil, ""
	}
	c.reports.mu.Lock()
	kept, ok := c.reports.byID[ct.ID]
	c.reports.mu.Unlock()
	if ok && kept.revision == ct.Revision && time.Since(kept.read) < reportLife {
		return kept.report, kept.problem
	}
	kept = keptReport{revision: ct.Revision, read: time.Now(), report: &winpe.Report{}}
	if err := c.cfg.API.Call(r.Context(), http.MethodGet, "/boot-images/"+url.PathEscape(ct.ID)+"/report", nil, kept.report); err != nil {
		if r.Context().Err() != nil {
			return nil, ""
		}
		kept.report, kept.problem = nil, err.Error()
	}
	c.reports.mu.Lock()
	defer c.reports.mu.Unlock()
	if c.reports.byID == nil {
		c.reports.byID = make(map[string]keptReport)
	}
	c.reports.byID[ct.ID] = kept
	return kept.report, kept.problem
}

// imageData is a boot image in the list of boot images.
type imageData struct {
	*content.Content
	Report   *winpe.Report
	NoReport string
	Kernel   bool // a Linux kernel and initramfs
}

func (c *Console) bootImages(r *http.Request) (*page, error) {
	list, err := c.contentsOf(r, content.KindBootImage)
	if err != nil {
		return nil, err
	}
	var images []imageData
	for _, ct := range list {
		d := imageData{Content: ct}
		_, d.Kernel = ct.File(content.RoleKernel)
		d.Report, d.NoReport = c.report(r, ct)
		images = append(images, d)
	}
	return &page{title: "Boot images", nav: "/boot-images", body: "images", data: images}, nil
}

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

func (c *Console) addContentPage(r *http.Request) (*page, error) {
	kinds := slices.Clone(contentKinds)
	for i := range kinds {
		kinds[i].Chosen = string(kinds[i].Kind) == r.URL.Query().Get("kind")
	}
	return &page{title: "Add a content", nav: "/contents", body: "add", data: &addContentData{kinds}}, nil
}

// addRequest reads the fields that both forms for adding have.
func addRequest(f url.Values) (web.AddContent, error) {
	req := web.AddContent{
		Kind: content.Kind(f.Get("kind")), Name: strings.TrimSpace(f.Get("name")), Version: strings.TrimSpace(f.Get("version")), Comment: strings.TrimSpace(f.Get("comment")),
		Path: strings.TrimSpace(f.Get("path")), Initrd: strings.TrimSpace(f.Get("initrd")), SHA256: strings.ToLower(strings.TrimSpace(f.Get("sha256"))),
		Distribution: content.Distribution{Multicast: f.Has("multicast"), Encrypt: f.Has("encrypt"), MulticastOnly: f.Has("multicast_only")},
	}
	if text := strings.TrimSpace(f.Get("index")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return req, wrong("image %q: want its number inside the WIM, from 1", text)
		}
		req.Index = n
	}
	return req, nil
}

func (c *Console) addContent(r *http.Request) (to, said string, err error) {
	req, err := addRequest(r.PostForm)
	if err != nil {
		return "", "", err
	}
	if req.Path == "" {
		return "", "", wrong("say where the file is: a path on the server, or a URL")
	}
	c.jobs.start(r.Context(), "add "+path.Base(req.Path), c.name(r), func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var ct content.Content
		err := c.cfg.API.Stream(ctx, http.MethodPost, "/contents", req, progress, &ct)
		return "added as " + ct.ID, contentPath(ct.ID), err
	})
	return "/contents", "Adding " + path.Base(req.Path) + ".", nil
}

// name is who sent a request, for people.
func (c *Console) name(r *http.Request) string {
	me, _ := c.cfg.Person(r)
	return me.Name
}

// maxField is the longest field of the form of an upload, in bytes.
const maxField = 64 << 10

// upload takes a file from the script, which shows its progress and the token that a
// form cannot: the token is looked for before any field is read. The fields come
// before the file, and the file goes on to the library while it comes in: nothing of
// it is kept in memory.
func (c *Console) upload(w http.ResponseWriter, r *http.Request) {
	limit := http.NewResponseController(w)
	_ = limit.SetReadDeadline(time.Time{}) // an image takes as long as it takes
	form, err := r.MultipartReader()
	if err != nil {
		c.fail(w, r, wrong("the upload cannot be read: %v", err))
		return
	}
	fields := url.Values{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			c.fail(w, r, wrong("no file was chosen"))
			return
		}
		if err != nil {
			c.fail(w, r, wrong("the upload ended early: %v", err))
			return
		}
		if part.FileName() == "" {
			value, err := io.ReadAll(io.LimitReader(part, maxField))
			if err != nil {
				c.fail(w, r, wrong("the upload ended early: %v", err))
				return
			}
			fields.Add(part.FormName(), string(value))
			continue
		}
		req, err := addRequest(fields)
		if err == nil {
			err = c.takeUpload(r, req, path.Base(strings.ReplaceAll(part.FileName(), `\`, "/")), part)
		}
		if err != nil {
			c.fail(w, r, err)
			return
		}
		say(w, r, "Uploaded "+part.FileName()+"; it is being added.")
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
func (c *Console) takeUpload(r *http.Request, req web.AddContent, name string, file io.Reader) error {
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
	id := c.jobs.start(r.Context(), "add "+name, c.name(r), func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var ct content.Content
		body.progress = progress
		err := c.cfg.API.Upload(ctx, q, body, &ct)
		failed <- err
		return "added as " + ct.ID, contentPath(ct.ID), err
	})
	select {
	case <-body.end:
		if body.err != nil {
			c.jobs.cancel(id)
			<-failed //nolint:errcheck // it says only that the body has ended, too
			return wrong("the upload ended early: %v", body.err)
		}
		return nil
	case err := <-failed:
		if err != nil {
			c.jobs.dismiss(id)
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

func (c *Console) setContent(r *http.Request) (to, said string, err error) {
	f := r.PostForm
	var set web.SetContent
	for name, to := range map[string]**string{"name": &set.Name, "version": &set.Version, "comment": &set.Comment, "language": &set.Language} {
		if f.Has(name) {
			value := strings.TrimSpace(f.Get(name))
			*to = &value
		}
	}
	for name, to := range map[string]**bool{"multicast": &set.Multicast, "encrypt": &set.Encrypt, "multicast_only": &set.MulticastOnly, "prompt": &set.Prompt} {
		if f.Has(name + "-shown") { // a box that is not ticked is not sent
			on := f.Has(name)
			*to = &on
		}
	}
	if p := content.Priority(f.Get("priority")); p != "" {
		set.Priority = &p
	}
	if text := f.Get("index"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return "", "", wrong("image %q: want its number inside the WIM", text)
		}
		set.Index = &n
	}
	if start := content.Start(f.Get("start")); start != "" {
		set.Start = &start
	}
	var ct content.Content
	if err := c.cfg.API.Call(r.Context(), http.MethodPatch, contentPath(r.PathValue("id")), set, &ct); err != nil {
		return "", "", err
	}
	return contentPath(ct.ID), "Changed " + ct.Name + ".", nil
}

func (c *Console) validate(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	c.jobs.start(r.Context(), "validate "+id, c.name(r), func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var v content.Validation
		if err := c.cfg.API.Stream(ctx, http.MethodPost, contentPath(id)+"/validate", nil, progress, &v); err != nil {
			return "", "", err
		}
		return "every byte is what it was", contentPath(id), v.Err()
	})
	return back(r, contentPath(id)), "Validating " + id + ".", nil
}

func (c *Console) repair(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	req := web.RepairContent{Path: strings.TrimSpace(r.PostFormValue("path")), Initrd: strings.TrimSpace(r.PostFormValue("initrd"))}
	c.jobs.start(r.Context(), "repair "+id, c.name(r), func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var v content.Validation
		if err := c.cfg.API.Stream(ctx, http.MethodPost, contentPath(id)+"/repair", req, progress, &v); err != nil {
			return "", "", err
		}
		return "it is whole again", contentPath(id), v.Err()
	})
	return back(r, contentPath(id)), "Repairing " + id + ".", nil
}

func (c *Console) removeContent(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = c.cfg.API.Call(r.Context(), http.MethodDelete, contentPath(id), nil, nil)
	return "/contents", "Removed " + id + ". Its files go when nothing else uses them.", err
}

func (c *Console) createToken(r *http.Request) (to, said string, err error) {
	var got web.CreatedToken
	err = c.cfg.API.Call(r.Context(), http.MethodPost, "/tokens", web.CreateToken{
		Content: r.PathValue("id"), MAC: strings.TrimSpace(r.PostFormValue("mac")), Name: strings.TrimSpace(r.PostFormValue("name")),
	}, &got)
	if err != nil {
		return "", "", err
	}
	return contentPath(got.Content), fmt.Sprintf("This receives it once, until %s: castpoint receive %s --server %s --pin %s --token %s --out FILE",
		got.Expires.Local().Format(time.DateTime), got.Content, got.Server, got.Pin, got.Token), nil
}
