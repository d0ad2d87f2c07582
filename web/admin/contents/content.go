package contents

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/content/library"
	"castpoint/web/access"
	"castpoint/web/api"
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

func (s *operations) contentOperations(a *api.API) {
	const tag = "contents"
	api.Answer(a, api.Operation{
		ID: "list-contents", Method: http.MethodGet, Path: "/contents", Scope: access.Read, Tag: tag,
		Summary: "List the contents of the library",
		About:   "In the order of their ids.",
	}, s.listContents)
	api.Answer(a, api.Operation{
		ID: "get-content", Method: http.MethodGet, Path: "/contents/{id}", Scope: access.Read, Tag: tag,
		Summary: "A content",
		About:   "Files with their hashes, images of a WIM, distribution settings, and the last validation.",
	}, func(_ context.Context, in *ContentPath) (*content.Content, error) {
		return api.Content(s.Library, in.ID)
	})
	api.Steps(a, api.Operation{
		ID: "add-content", Method: http.MethodPost, Path: "/contents", Scope: access.Admin, Tag: tag,
		Summary: "Put files of the server's host, or of a URL, into the library",
		About:   "Paths are those of the server's host. The files are inspected, copied and hashed; a content is there whole, or not at all. A file behind a URL is fetched first, and a fetch that broke off is gone on with. Refusals that are found while it works are the problem of the last step.",
		Errors:  []int{http.StatusNotFound, http.StatusConflict, http.StatusBadGateway, http.StatusInsufficientStorage},
	}, s.addContent)
	api.Answer(a, api.Operation{
		ID: "set-content", Method: http.MethodPatch, Path: "/contents/{id}", Scope: access.Admin, Tag: tag,
		Summary: "Change what is said about a content",
		About:   "Fields that are left out stay. Kind, name and version together belong to one content.",
		Errors:  []int{http.StatusConflict},
	}, s.setContent)
	api.Act(a, api.Operation{
		ID: "remove-content", Method: http.MethodDelete, Path: "/contents/{id}", Scope: access.Admin, Tag: tag,
		Summary: "Remove a content",
		About:   "Its objects go with the next collect-garbage. Refused while it is assigned to machines or sent in a session.",
		Errors:  []int{http.StatusConflict},
	}, s.removeContent)
	api.Steps(a, api.Operation{
		ID: "validate-content", Method: http.MethodPost, Path: "/contents/{id}/validate", Scope: access.Operate, Tag: tag,
		Summary: "Read all of a content and compare it with its hashes",
		About:   "What is damaged or missing is in the result, and stays with the content until the next validation.",
	}, s.validateContent)
	api.Steps(a, api.Operation{
		ID: "update-content", Method: http.MethodPost, Path: "/contents/{id}/update", Scope: access.Admin, Tag: tag,
		Summary: "Give a content new files under the same id",
		About:   "The content keeps its id, its settings and its place in sequences, and its revision rises. What uses the old files goes on with them.",
		Errors:  []int{http.StatusConflict, http.StatusBadGateway, http.StatusInsufficientStorage},
	}, s.updateContent)
	api.Steps(a, api.Operation{
		ID: "attach-content", Method: http.MethodPost, Path: "/contents/{id}/attach", Scope: access.Admin, Tag: tag,
		Summary: "Attach drivers and files to a Windows boot image, or take them away",
		About:   "They are added to what each machine gets; the image in the library stays as it is. What is removed goes before anything is attached.",
	}, s.attachContent)
	api.Steps(a, api.Operation{
		ID: "repair-content", Method: http.MethodPost, Path: "/contents/{id}/repair", Scope: access.Admin, Tag: tag,
		Summary: "Mend damaged blocks out of the files that the content was made of",
		About:   "Blocks that are damaged are read from the originals, where they came from, somewhere else, or on another castpoint server, and are taken when they have the right hash.",
		Errors:  []int{http.StatusConflict, http.StatusBadGateway},
	}, s.repairContent)
	api.Answer(a, api.Operation{
		ID: "collect-garbage", Method: http.MethodPost, Path: "/garbage", Scope: access.Admin, Tag: tag,
		Summary: "Delete what no content uses",
		About:   "Deletes objects that no content has, and what broken-off work has left.",
	}, s.collectGarbage)
}

// ContentPath names a content.
type ContentPath struct {
	ID string `path:"id" doc:"id, or name where that is clear"`
}

func (s *operations) listContents(_ context.Context, in *struct{ api.PageQuery }) (api.Page[*content.Content], error) {
	list, err := s.Library.List()
	if err != nil {
		return api.Page[*content.Content]{}, api.ContentProblem(err)
	}
	return api.Cut(list, func(ct **content.Content) string { return (*ct).ID }, in.PageQuery), nil
}

// contentWork is the work of a streamed answer about a content.
type contentWork = func(ctx context.Context, progress api.Progress) (*content.Content, error)

func (s *operations) addContent(ctx context.Context, in *struct{ Body AddContent }) (contentWork, error) {
	if err := in.Body.check(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, progress api.Progress) (*content.Content, error) {
		ct, err := s.add(ctx, "", in.Body, progress)
		if err == nil {
			api.Note(ctx, "%s as %s", fetch.WithoutPassword(in.Body.Path), ct.ID)
		}
		return ct, err
	}, nil
}

func (s *operations) setContent(_ context.Context, in *struct {
	ContentPath
	Body SetContent
}) (*content.Content, error) {
	req := &in.Body
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return nil, err
	}
	set, err := req.request(ct)
	if err != nil {
		return nil, err
	}
	ct, err = s.Library.Set(ct.ID, set)
	return ct, api.ContentProblem(err)
}

// request is what the library is asked for.
func (req *SetContent) request(ct *content.Content) (set library.SetRequest, err error) {
	set = library.SetRequest{
		Name: req.Name, Version: req.Version, Comment: req.Comment, Index: req.Index,
		Source: req.Source, Language: req.Language, Arch: req.Arch,
	}
	if len(req.Programs)+len(req.RemovePrograms) > 0 {
		programs, err := changePrograms(ct, req.Programs, req.RemovePrograms)
		if err != nil {
			return set, err
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
	return set, nil
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
			return nil, api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "castpoint content show "+ct.ID+" lists them", "content %s has no program %q", ct.ID, name)
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

func (s *operations) attachContent(_ context.Context, in *struct {
	ContentPath
	Body Attachments
}) (contentWork, error) {
	req := &in.Body
	for _, path := range req.Files {
		if !filepath.IsAbs(path) {
			return nil, api.Refusal(http.StatusBadRequest, "", "name it from the root of the server's host", "file %q is not an absolute path", path)
		}
	}
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, progress api.Progress) (_ *content.Content, err error) {
		if len(req.Remove) > 0 {
			if ct, err = s.Library.Detach(ctx, ct.ID, req.Remove); err != nil {
				return nil, api.ContentProblem(err)
			}
		}
		if len(req.Drivers)+len(req.Files) > 0 {
			ct, err = s.Library.Attach(ctx, ct.ID, library.AttachRequest{Drivers: req.Drivers, Files: req.Files, Progress: progress})
			if err != nil {
				return nil, api.ContentProblem(err)
			}
		}
		return ct, nil
	}, nil
}

func (s *operations) removeContent(_ context.Context, in *ContentPath) error {
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return err
	}
	if ct.ID == s.Join.Assigned() {
		return api.Refusal(http.StatusConflict, protocol.CodeRefused, "give the setting assign another value, and castpoint reload, first", "content %s is assigned to machines that netboot", ct.ID)
	}
	if s.Keeper != nil {
		for _, info := range s.Keeper.List() {
			if info.Carries(ct.ID) && info.Ended == nil {
				return api.Refusal(http.StatusConflict, protocol.CodeRefused, "castpoint session cancel "+info.ID+" ends it", "content %s is being sent in session %s", ct.ID, info.ID)
			}
		}
	}
	return api.ContentProblem(s.Library.Remove(ct.ID))
}

func (s *operations) validateContent(_ context.Context, in *ContentPath) (func(context.Context, api.Progress) (*library.Validation, error), error) {
	ct, err := api.Content(s.Library, in.ID)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, progress api.Progress) (*library.Validation, error) {
		v, err := s.Library.Validate(ctx, ct.ID, progress)
		if err != nil {
			return nil, api.ContentProblem(fmt.Errorf("validate %s: %w", ct.ID, err))
		}
		return v, nil
	}, nil
}
