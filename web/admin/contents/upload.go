package contents

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"

	"castpoint/content"
	"castpoint/web/access"
	"castpoint/web/api"
)

func (s *operations) uploadOperations(a *api.API) {
	api.Serve(a, api.Operation{
		ID: "upload-content", Method: http.MethodPost, Path: "/contents/upload", Scope: access.Admin, Tag: "contents",
		Takes: api.BytesType, Sends: "application/json", SendsJSON: reflect.TypeFor[content.Content](), Status: http.StatusCreated,
		Summary: "Put a file, the body, into the library, or what is in an archive",
		About:   "The body is the file, or a tar archive of several or of a folder. Some uploads at once are taken, and as much as the disk's reserve leaves; one that stands still is given up, and nothing of it stays. The file is inspected in a process of its own with limits of memory and time.",
		Errors:  []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusInsufficientStorage},
	}, s.uploadContent)
}

// UploadContent says what a file is that is the body of a request.
type UploadContent struct {
	File          string       `query:"file" required:"true" doc:"name of the file, without a folder"`
	Kind          content.Kind `query:"kind" required:"true" doc:"os-image, boot-image, os-upgrade, driver-package or package"`
	Name          string       `query:"name" doc:"left out: from the file"`
	Version       string       `query:"version" doc:"text for people; left out for what the image says"`
	Comment       string       `query:"comment" doc:"text for people"`
	Index         int          `query:"index" doc:"image inside the WIM"`
	Multicast     bool         `query:"multicast" doc:"it may be sent by multicast"`
	Encrypt       bool         `query:"encrypt" doc:"it must be encrypted on its way"`
	MulticastOnly bool         `query:"multicast_only" doc:"it may be sent by multicast only"`

	Priority content.Priority `query:"priority" doc:"low, medium or high; left out: medium"`
	Arch     string           `query:"arch" doc:"processor; left out: from the file"`
	Language string           `query:"language" doc:"tags of the languages; left out: from the image"`
	Source   string           `query:"source" doc:"path on the server's host, or URL, that repairs read from; left out: none"`
	Programs string           `query:"programs" doc:"programs of a package: JSON, the field of add-content"`
	Update   string           `query:"update" doc:"id or name of a content of that kind which gets new files, instead of a new content"`
	Tar      bool             `query:"tar" doc:"the body is a tar archive of files and folders; file, initrd and loaders are members at its top"`
	Initrd   string           `query:"initrd" doc:"initramfs of a Linux boot image, in the archive"`
	Loaders  string           `query:"loaders" doc:"boot files that a Windows boot image lacks, in the archive: a folder or a file"`
}

// check refuses names that lead out of the folder that an upload is kept in.
func (in *UploadContent) check() error {
	for field, name := range map[string]string{"file": in.File, "initrd": in.Initrd, "loaders": in.Loaders} {
		if name == "" && field != "file" {
			continue
		}
		if name == "" || name != filepath.Base(name) || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "\\\x00") {
			return api.Refusal(http.StatusBadRequest, "", "", "%s %q: want the name of a file, without a folder", field, name)
		}
	}
	if !in.Tar && in.Initrd+in.Loaders != "" {
		return api.Refusal(http.StatusBadRequest, "", "send a tar archive of the files, and tar=true", "initrd and loaders are members of an archive")
	}
	return nil
}

// request is what the library is asked for when the files lie in a folder.
func (in *UploadContent) request(dir string) (AddContent, error) {
	req := AddContent{
		Kind: in.Kind, Path: filepath.Join(dir, in.File), Name: in.Name, Version: in.Version, Comment: in.Comment, Index: in.Index,
		Arch: in.Arch, Language: in.Language, Source: in.Source, HardLink: true, // nobody else writes to it
		Distribution: content.Distribution{Multicast: in.Multicast, Encrypt: in.Encrypt, MulticastOnly: in.MulticastOnly, Priority: in.Priority},
	}
	if in.Initrd != "" {
		req.Initrd = filepath.Join(dir, in.Initrd)
	}
	if in.Loaders != "" {
		req.Loaders = filepath.Join(dir, in.Loaders)
	}
	if req.Source == "" {
		req.Source = "upload:" + in.File
	}
	if in.Programs == "" {
		return req, nil
	}
	d := json.NewDecoder(strings.NewReader(in.Programs))
	d.DisallowUnknownFields()
	if err := d.Decode(&req.Programs); err != nil {
		return req, api.Refusal(http.StatusBadRequest, "", "it is the field programs of add-content", "programs: %v", err)
	}
	return req, nil
}

// uploadContent keeps the body, and adds a content out of it.
func (s *operations) uploadContent(ctx context.Context, in *UploadContent, w http.ResponseWriter, r *http.Request) (err error) {
	if err := in.check(); err != nil {
		return err
	}
	add, err := in.request("")
	if err != nil {
		return err
	}
	id := ""
	if in.Update != "" {
		ct, err := api.Content(s.Library, in.Update)
		if err != nil {
			return err
		}
		if ct.Kind != in.Kind {
			return api.Refusal(http.StatusBadRequest, "", "", "content %s is a %s, not a %s", ct.ID, ct.Kind, in.Kind)
		}
		id = ct.ID
	} else {
		r := content.AddRequest{
			Kind: add.Kind, Path: in.File, Initrd: add.Initrd, Loaders: add.Loaders, Name: add.Name, Version: add.Version, Comment: add.Comment,
			Index: add.Index, Arch: add.Arch, Language: add.Language, Source: add.Source, Programs: add.Programs, Distribution: add.Distribution,
		}
		if err := r.Check(); err != nil {
			return api.ContentProblem(err) // before something large has come in for it
		}
	}
	up, err := s.Uploads.Begin(w, r, access.Name(ctx), in.File)
	if err != nil {
		return api.ContentProblem(err)
	}
	defer func() { err = errors.Join(err, up.End()) }()
	var dir string
	if in.Tar {
		dir, err = up.Unpack()
	} else {
		dir, err = up.Keep(in.File)
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return api.ContentProblem(err)
	}
	if add, err = in.request(dir); err != nil {
		return err
	}
	ct, err := s.add(ctx, id, add, nil)
	if err != nil {
		p := *api.AsProblem(err)
		p.Detail = strings.ReplaceAll(p.Detail, dir+string(filepath.Separator), "") // where it was kept means nothing to the client
		return &p
	}
	api.Note(ctx, "%s as %s", in.File, ct.ID)
	api.WriteJSON(w, http.StatusCreated, ct)
	return nil
}
