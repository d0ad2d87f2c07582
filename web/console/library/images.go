package library

import (
	"net/http"
	"net/url"
	"sync"
	"time"

	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/web/console/frame"
)

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
func (p *Library) report(r *http.Request, ct *content.Content) (*winpe.Report, string) {
	if _, ok := ct.File(content.RoleImage); ct.Kind != content.KindBootImage || !ok {
		return nil, ""
	}
	p.reports.mu.Lock()
	kept, ok := p.reports.byID[ct.ID]
	p.reports.mu.Unlock()
	if ok && kept.revision == ct.Revision && time.Since(kept.read) < reportLife {
		return kept.report, kept.problem
	}
	kept = keptReport{revision: ct.Revision, read: time.Now(), report: &winpe.Report{}}
	if err := p.Get(r, "/boot-images/"+url.PathEscape(ct.ID)+"/report", kept.report); err != nil {
		if r.Context().Err() != nil {
			return nil, ""
		}
		kept.report, kept.problem = nil, err.Error()
	}
	p.reports.mu.Lock()
	defer p.reports.mu.Unlock()
	if p.reports.byID == nil {
		p.reports.byID = make(map[string]keptReport)
	}
	p.reports.byID[ct.ID] = kept
	return kept.report, kept.problem
}

// imageData is a boot image in the list of boot images.
type imageData struct {
	*content.Content
	Report   *winpe.Report
	NoReport string
	Kernel   bool // a Linux kernel and initramfs
}

func (p *Library) bootImages(r *http.Request) (*frame.Page, error) {
	list, err := p.bootContents(r)
	if err != nil {
		return nil, err
	}
	var images []imageData
	for _, ct := range list {
		d := imageData{Content: ct}
		_, d.Kernel = ct.File(content.RoleKernel)
		d.Report, d.NoReport = p.report(r, ct)
		images = append(images, d)
	}
	return &frame.Page{Title: "Boot images", Nav: "/boot-images", Body: "images", Data: images}, nil
}

// bootContents are the boot images.
func (p *Library) bootContents(r *http.Request) (list []*content.Content, err error) {
	contents, err := frame.All[*content.Content](r, p.Frame, "/contents")
	for _, ct := range contents {
		if ct.Kind == content.KindBootImage {
			list = append(list, ct)
		}
	}
	return list, err
}
