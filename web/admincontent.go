package web

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
)

// AddContent asks for a new content, or a new revision of one, out of files on
// the server's host or one behind a URL.
type AddContent struct {
	Kind         content.Kind         `json:"kind"`
	Path         string               `json:"path"`              // absolute, or a URL
	Initrd       string               `json:"initrd,omitempty"`  // absolute
	Loaders      string               `json:"loaders,omitempty"` // absolute
	Name         string               `json:"name,omitempty"`
	Version      string               `json:"version,omitempty"`
	Comment      string               `json:"comment,omitempty"`
	Index        int                  `json:"index,omitempty"`
	Arch         string               `json:"arch,omitempty"`
	Language     string               `json:"language,omitempty"`
	Source       string               `json:"source,omitempty"`   // where it is from, when that is not Path
	Programs     []content.Program    `json:"programs,omitempty"` // of a package
	Distribution content.Distribution `json:"distribution"`

	// HardLink takes the files themselves where the file system can.
	HardLink bool `json:"hard_link,omitempty"`

	// SHA256 is what a file behind a URL must have; "" takes what comes.
	SHA256 string `json:"sha256,omitempty"`
	// FetchRate is how fast it is fetched at most, in bits per second; 0 is no
	// limit.
	FetchRate int64 `json:"fetch_rate,omitempty"`
}

// SetContent asks for changes; null leaves a setting as it is.
type SetContent struct {
	Name     *string `json:"name,omitempty"`
	Version  *string `json:"version,omitempty"`
	Comment  *string `json:"comment,omitempty"`
	Source   *string `json:"source,omitempty"`
	Language *string `json:"language,omitempty"`
	Arch     *string `json:"arch,omitempty"`
	Index    *int    `json:"index,omitempty"`
	// Programs replace programs of the same name or are added to the others;
	// those of RemovePrograms go.
	Programs       []content.Program `json:"programs,omitempty"`
	RemovePrograms []string          `json:"remove_programs,omitempty"`

	Priority      *content.Priority `json:"priority,omitempty"`
	Multicast     *bool             `json:"multicast,omitempty"`
	Encrypt       *bool             `json:"encrypt,omitempty"`
	MulticastOnly *bool             `json:"multicast_only,omitempty"`

	// Of Windows boot images.
	Start  *content.Start `json:"start,omitempty"`
	Prompt *bool          `json:"prompt,omitempty"`
}

// Attachments asks for files to be attached to a boot image, or taken away.
type Attachments struct {
	// Drivers are absolute paths of folders on the server's host, or driver
	// packages by id or name; Files absolute paths by path in the image.
	Drivers []string          `json:"drivers,omitempty"`
	Files   map[string]string `json:"files,omitempty"`
	// Remove names what is taken away, before anything is attached.
	Remove []string `json:"remove,omitempty"`
}

func (s *Server) listContents(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.library.List()
	if err != nil {
		return contentProblem(err)
	}
	writeJSON(w, http.StatusOK, append([]*content.Content{}, list...))
	return nil
}

func (s *Server) getContent(w http.ResponseWriter, r *http.Request) error {
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, ct)
	return nil
}

func (s *Server) addContent(w http.ResponseWriter, r *http.Request) error {
	var req AddContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (any, error) { return s.add(r.Context(), "", req, progress) })
	return nil
}

func (s *Server) setContent(w http.ResponseWriter, r *http.Request) error {
	var req SetContent
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	set := content.SetRequest{
		Name: req.Name, Version: req.Version, Comment: req.Comment, Index: req.Index,
		Source: req.Source, Language: req.Language, Arch: req.Arch,
	}
	if len(req.Programs)+len(req.RemovePrograms) > 0 {
		programs, err := changePrograms(ct, req.Programs, req.RemovePrograms)
		if err != nil {
			return err
		}
		set.Programs = &programs
	}
	d := ct.Distribution
	if req.Priority != nil {
		d.Priority = *req.Priority
	}
	for _, f := range []struct{ from, to *bool }{
		{req.Multicast, &d.Multicast}, {req.Encrypt, &d.Encrypt}, {req.MulticastOnly, &d.MulticastOnly},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if d != ct.Distribution {
		set.Distribution = &d
	}
	start := ct.WinPE
	if req.Start != nil {
		start.Start = *req.Start
	}
	if req.Prompt != nil {
		start.Prompt = *req.Prompt
	}
	if start != ct.WinPE {
		set.WinPE = &start
	}
	if ct, err = s.library.Set(ct.ID, set); err != nil {
		return contentProblem(err)
	}
	writeJSON(w, http.StatusOK, ct)
	return nil
}

// changePrograms makes the new list of a content's programs.
func changePrograms(ct *content.Content, set []content.Program, remove []string) ([]content.Program, error) {
	list := ct.Programs
	find := func(name string) int {
		return slices.IndexFunc(list, func(p content.Program) bool { return strings.EqualFold(p.Name, name) })
	}
	for _, name := range remove {
		i := find(name)
		if i < 0 {
			return nil, problem(http.StatusNotFound, protocol.CodeNotFound, "castpoint content show "+ct.ID+" lists them", "content %s has no program %q", ct.ID, name)
		}
		list = slices.Delete(list, i, i+1)
	}
	for _, p := range set {
		if i := find(p.Name); i >= 0 {
			list[i] = p
		} else {
			list = append(list, p)
		}
	}
	return list, nil
}

func (s *Server) attachContent(w http.ResponseWriter, r *http.Request) error {
	var req Attachments
	if err := readJSON(w, r, maxAdminBody, &req); err != nil {
		return err
	}
	for _, path := range req.Files {
		if !filepath.IsAbs(path) {
			return problem(http.StatusBadRequest, "", "name it from the root of the server's host", "file %q is not an absolute path", path)
		}
	}
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (_ any, err error) {
		if len(req.Remove) > 0 {
			if ct, err = s.library.Detach(r.Context(), ct.ID, req.Remove); err != nil {
				return nil, contentProblem(err)
			}
		}
		if len(req.Drivers)+len(req.Files) > 0 {
			ct, err = s.library.Attach(r.Context(), ct.ID, content.AttachRequest{Drivers: req.Drivers, Files: req.Files, Progress: progress})
			if err != nil {
				return nil, contentProblem(err)
			}
		}
		return ct, nil
	})
	return nil
}

func (s *Server) removeContent(w http.ResponseWriter, r *http.Request) error {
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	if ct.ID == s.cfg.Assign.Content {
		return problem(http.StatusConflict, protocol.CodeRefused, "restart castpoint serve with another --assign first", "content %s is assigned to machines that netboot", ct.ID)
	}
	if s.keeper != nil {
		for _, info := range s.keeper.list() {
			if info.Carries(ct.ID) && info.Ended == nil {
				return problem(http.StatusConflict, protocol.CodeRefused, "castpoint session cancel "+info.ID+" ends it", "content %s is being sent in session %s", ct.ID, info.ID)
			}
		}
	}
	if err := s.library.Remove(ct.ID); err != nil {
		return contentProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) validateContent(w http.ResponseWriter, r *http.Request) error {
	ct, err := s.contentByID(r.PathValue("id"))
	if err != nil {
		return err
	}
	stream(w, func(progress func(done, total int64)) (any, error) {
		v, err := s.library.Validate(r.Context(), ct.ID, progress)
		if err != nil {
			return nil, contentProblem(fmt.Errorf("validate %s: %w", ct.ID, err))
		}
		return v, nil
	})
	return nil
}
