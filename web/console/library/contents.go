package library

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/web/admin"
	"castpoint/web/admin/contents"
	"castpoint/web/admin/sessions"
	"castpoint/web/console/frame"
	"castpoint/web/console/job"
	"castpoint/web/session"
)

// contentsData is what the list of contents shows.
type contentsData struct {
	frame.Part[*content.Content]
	Kind     string
	Kinds    []kindCount
	Jobs     []job.Job
	Assigned string
	Problems []string
}

// kindCount is a filter of the list.
type kindCount struct {
	Kind   content.Kind
	Label  string
	Count  int
	Chosen bool
}

// contentsPart is how many contents a page of the list has.
const contentsPart = 100

func (p *Library) contents(r *http.Request) (*frame.Page, error) {
	d := contentsData{Jobs: p.Jobs().List(true)}
	var st admin.Status
	if err := p.Get(r, "/status", &st); err != nil {
		return nil, err
	}
	d.Assigned, d.Problems = st.Assigned, st.Problems
	all, err := frame.All[*content.Content](r, p.Frame, "/contents")
	if err != nil {
		return nil, err
	}
	d.Kind = r.URL.Query().Get("kind")
	var list []*content.Content
	count := map[content.Kind]int{}
	for _, ct := range all {
		count[ct.Kind]++
		if d.Kind == "" || string(ct.Kind) == d.Kind {
			list = append(list, ct)
		}
	}
	d.Kinds = append(d.Kinds, kindCount{"", "All", len(all), d.Kind == ""})
	for _, k := range contentKinds {
		if count[k.Kind] > 0 {
			label, _, _ := strings.Cut(k.Text, ":")
			d.Kinds = append(d.Kinds, kindCount{k.Kind, label, count[k.Kind], string(k.Kind) == d.Kind})
		}
	}
	d.Part = frame.Cut(r, list, contentsPart)
	return &frame.Page{Title: "Contents", Nav: "/contents", Body: "contents", Data: &d, Live: frame.Rather}, nil
}

// contentData is what the page of a content shows.
type contentData struct {
	*content.Content
	Jobs     []job.Job
	Report   *winpe.Report // of a Windows boot image
	NoReport string
	Sessions []session.Info // of it that run
	Assigned bool
	Castable bool // one file, which a session can send
}

func (p *Library) content(r *http.Request) (*frame.Page, error) {
	d := contentData{Content: &content.Content{}, Jobs: p.Jobs().List(false)}
	if err := p.Get(r, contentPath(r.PathValue("id")), d.Content); err != nil {
		return nil, err
	}
	var st admin.Status
	if err := p.Get(r, "/status", &st); err != nil {
		return nil, err
	}
	d.Assigned = st.Assigned == d.ID
	d.Castable = len(d.Files) == 1
	list, err := frame.All[session.Info](r, p.Frame, "/sessions")
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Content == d.ID && s.Ended == nil {
			d.Sessions = append(d.Sessions, s)
		}
	}
	d.Report, d.NoReport = p.report(r, d.Content)
	return &frame.Page{Title: d.Name, Nav: "/contents", Body: "content", Data: &d, Live: frame.Rather}, nil
}

func (p *Library) set(r *http.Request) (to, said string, err error) {
	f := r.PostForm
	var set contents.SetContent
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
			return "", "", frame.Wrong("image %q: want its number inside the WIM", text)
		}
		set.Index = &n
	}
	if start := content.Start(f.Get("start")); start != "" {
		set.Start = &start
	}
	var ct content.Content
	if err := p.Do(r, http.MethodPatch, contentPath(r.PathValue("id")), set, &ct); err != nil {
		return "", "", err
	}
	return contentPath(ct.ID), "Changed " + ct.Name + ".", nil
}

func (p *Library) validate(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	p.Jobs().Start(r.Context(), "validate "+id, p.Me(r).Name, func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var v library.Validation
		if err := p.API().Stream(ctx, http.MethodPost, contentPath(id)+"/validate", nil, progress, &v); err != nil {
			return "", "", err
		}
		return "every byte is what it was", contentPath(id), v.Err()
	})
	return frame.Back(r, contentPath(id)), "Validating " + id + ".", nil
}

func (p *Library) repair(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	req := contents.RepairContent{Path: strings.TrimSpace(r.PostFormValue("path")), Initrd: strings.TrimSpace(r.PostFormValue("initrd"))}
	p.Jobs().Start(r.Context(), "repair "+id, p.Me(r).Name, func(ctx context.Context, progress func(done, total int64)) (string, string, error) {
		var v library.Validation
		if err := p.API().Stream(ctx, http.MethodPost, contentPath(id)+"/repair", req, progress, &v); err != nil {
			return "", "", err
		}
		return "it is whole again", contentPath(id), v.Err()
	})
	return frame.Back(r, contentPath(id)), "Repairing " + id + ".", nil
}

func (p *Library) remove(r *http.Request) (to, said string, err error) {
	id := r.PathValue("id")
	err = p.Do(r, http.MethodDelete, contentPath(id), nil, nil)
	return "/contents", "Removed " + id + ". Its files go when nothing else uses them.", err
}

func (p *Library) createToken(r *http.Request) (to, said string, err error) {
	var got sessions.CreatedToken
	err = p.Do(r, http.MethodPost, "/tokens", sessions.CreateToken{
		Content: r.PathValue("id"), MAC: strings.TrimSpace(r.PostFormValue("mac")), Name: strings.TrimSpace(r.PostFormValue("name")),
	}, &got)
	if err != nil {
		return "", "", err
	}
	return contentPath(got.Content), fmt.Sprintf("This receives it once, until %s: castpoint receive %s --server %s --pin %s --token %s --out FILE",
		got.Expires.Local().Format(time.DateTime), got.Content, got.Server, got.Pin, got.Token), nil
}

// askRemove says who uses the content.
func (p *Library) askRemove(r *http.Request) (*frame.Question, error) {
	ct := &content.Content{}
	if err := p.Get(r, contentPath(r.PathValue("id")), ct); err != nil {
		return nil, err
	}
	q := &frame.Question{
		Title: "Remove " + ct.Name + " from the library?", Do: "Remove " + ct.Name, Back: contentPath(ct.ID),
		Says: []string{"Machines can no longer get it. Files that other contents use stay; the others, " + size(ct) + " at most, are deleted and have to be imported again."},
	}
	var st admin.Status
	if err := p.Get(r, "/status", &st); err != nil {
		return nil, err
	}
	if st.Assigned == ct.ID {
		q.Says = append(q.Says, "Machines without a deployment receive it: it is the server's assignment.")
	}
	sessions, err := frame.All[session.Info](r, p.Frame, "/sessions")
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Content == ct.ID && s.Ended == nil {
			q.Says = append(q.Says, "Session "+s.ID+" sends it to "+frame.Plural(len(s.Members), "member", "members")+" now.")
		}
	}
	return q, nil
}
