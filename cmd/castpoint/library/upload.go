package library

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"castpoint/agent/command"
	"castpoint/agent/protocol"
	"castpoint/cmd/castpoint/cli"
	"castpoint/cmd/castpoint/terminal"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/content/wim"
	"castpoint/web/admin/contents"
)

// addFiles adds a content, or gives the one with the id new files. Who reads them is
// the server, where it can; otherwise they are read here and sent: to a server elsewhere,
// to one whose user may not read them, and to one that does not see them (a service has
// a /tmp of its own).
func addFiles(o *cli.Options, cmd *cobra.Command, id string, req contents.AddContent, upload bool) (*content.Content, error) {
	to, what := "/contents", "add "+filepath.Base(req.Path)
	if id != "" {
		to, what = "/contents/"+url.PathEscape(id)+"/update", "update "+filepath.Base(req.Path)
	}
	files := []string{req.Path, req.Initrd, req.Loaders}
	if fetch.IsURL(req.Path) {
		if upload {
			return nil, command.Usage("--upload is for files: a URL is fetched by the server")
		}
		return streamContent(o, cmd, to, what, req)
	}
	here := readable(files)
	if !upload && (o.Remote.URL == "" || here != nil) {
		ct, err := streamContent(o, cmd, to, what, req)
		must := mustSend(cmd.Context(), o, err)
		if must && o.Remote.URL == "" && errors.Is(here, fs.ErrNotExist) {
			err = fmt.Errorf("%s: %w", what, here) // the server may not even look
		}
		if here != nil || !must {
			return ct, err
		}
	}
	if here != nil {
		return nil, here
	}
	return sendFiles(o, cmd, id, what, req)
}

// mustSend says whether an answer means that a running server cannot read a file, or
// does not see it.
func mustSend(ctx context.Context, o *cli.Options, answer error) bool {
	p, ok := errors.AsType[*protocol.Problem](answer)
	if !ok || p.Code != protocol.CodeUnreadable && p.Code != protocol.CodeNotFound {
		return false
	}
	client, done, err := o.Admin(ctx)
	if err != nil {
		return false
	}
	defer done()
	return !client.Local()
}

// readable says why one of the files, some of which may be "", cannot be read here.
func readable(files []string) error {
	for _, name := range files {
		if name == "" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		_ = f.Close() // it was only read
	}
	return nil
}

// sendFiles sends the files. A single one is sent as it is, several and folders as a tar
// archive.
func sendFiles(o *cli.Options, cmd *cobra.Command, id, what string, req contents.AddContent) (*content.Content, error) {
	client, done, err := o.Admin(cmd.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, stop := command.Interrupted(cmd.Context())
	defer stop()
	if id != "" {
		var old content.Content
		if err := client.Call(ctx, http.MethodGet, "/contents/"+url.PathEscape(id), nil, &old); err != nil {
			return nil, err
		}
		req.Kind, id = old.Kind, old.ID
	}
	query, err := uploadQuery(id, req)
	if err != nil {
		return nil, err
	}
	list, total, err := uploadFiles(req)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	size := int64(-1)
	if len(list) == 1 && list[0].info.Mode().IsRegular() && req.Initrd == "" && req.Loaders == "" {
		f, err := os.Open(list[0].path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		body, size = f, list[0].info.Size()
	} else {
		query.Set("tar", "true")
		reader, writer := io.Pipe()
		packed := make(chan struct{})
		go func() {
			defer close(packed)
			_ = writer.CloseWithError(pack(ctx, writer, list)) // it never fails
		}()
		defer func() { // who packs ends when nobody reads
			_ = reader.Close()
			<-packed
		}()
		body = reader
	}
	progress, clear := terminal.Meter(cmd.ErrOrStderr(), what)
	defer clear()
	ct := &content.Content{}
	return ct, client.Upload(ctx, query, &metered{r: body, size: size, total: total, progress: progress}, ct)
}

// uploadQuery says to the server what the files are.
func uploadQuery(id string, req contents.AddContent) (url.Values, error) {
	q := url.Values{"file": {filepath.Base(req.Path)}, "kind": {string(req.Kind)}}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, value := range map[string]string{
		"update": id, "name": req.Name, "version": req.Version, "comment": req.Comment, "arch": req.Arch, "language": req.Language,
		"source": req.Source, "priority": string(req.Distribution.Priority),
	} {
		set(name, value)
	}
	for name, path := range map[string]string{"initrd": req.Initrd, "loaders": req.Loaders} {
		if path != "" {
			set(name, filepath.Base(path))
		}
	}
	for name, on := range map[string]bool{"multicast": req.Distribution.Multicast, "encrypt": req.Distribution.Encrypt, "multicast_only": req.Distribution.MulticastOnly} {
		if on {
			set(name, "true")
		}
	}
	if req.Index != 0 {
		set("index", strconv.Itoa(req.Index))
	}
	if len(req.Programs) > 0 {
		b, err := json.Marshal(req.Programs)
		if err != nil {
			return nil, err
		}
		set("programs", string(b))
	}
	return q, nil
}

// uploadFile is a file or a folder that is sent.
type uploadFile struct {
	path string // here
	name string // in the archive
	info fs.FileInfo
}

// uploadFiles lists what belongs to a content, and how many bytes that is.
func uploadFiles(req contents.AddContent) (list []uploadFile, total int64, err error) {
	add := func(from, as string) error {
		return filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			if p != from && e.Type()&fs.ModeSymlink != 0 || !info.Mode().IsRegular() && !info.IsDir() {
				return fmt.Errorf("file %s: it is neither a file nor a folder, so it cannot be sent", p)
			}
			rel, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			list = append(list, uploadFile{p, path.Join(as, filepath.ToSlash(rel)), info})
			if info.Mode().IsRegular() {
				total += info.Size()
			}
			return nil
		})
	}
	names := map[string]string{}
	for _, from := range []string{req.Path, req.Initrd, req.Loaders} {
		if from == "" {
			continue
		}
		as := filepath.Base(from)
		if other, ok := names[as]; ok {
			return nil, 0, command.Usage("%s and %s have the same name: rename one of them to send both", other, from)
		}
		names[as] = from
		if from, err = filepath.EvalSymlinks(from); err == nil {
			err = add(from, as)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	parts, err := splitParts(req.Path)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range parts {
		if _, ok := names[filepath.Base(p)]; ok {
			continue
		}
		if err := add(p, filepath.Base(p)); err != nil {
			return nil, 0, err
		}
	}
	return list, total, nil
}

// splitParts gives the other parts of a split WIM; none when the file is no such.
func splitParts(file string) (parts []string, err error) {
	info, err := describeFile(file, func(r io.ReaderAt, size int64) (*wim.Info, error) { return wim.Describe(r, size) })
	if err != nil || info == nil || !info.Split() {
		return nil, nil //nolint:nilerror // what is wrong with it, the server says
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("look for the parts of a split WIM: %w", err)
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(file), e.Name())
		if e.Name() == filepath.Base(file) || !e.Type().IsRegular() || !strings.EqualFold(filepath.Ext(other), filepath.Ext(file)) {
			continue
		}
		is, err := describeFile(other, func(r io.ReaderAt, size int64) (bool, error) { return wim.IsPartOf(r, size, info.GUID), nil })
		if err != nil {
			return nil, err
		}
		if is {
			parts = append(parts, other)
		}
	}
	return parts, nil
}

// describeFile reads something of a file.
func describeFile[T any](name string, read func(io.ReaderAt, int64) (T, error)) (v T, err error) {
	f, err := os.Open(name)
	if err != nil {
		return v, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return v, err
	}
	return read(f, st.Size())
}

// pack writes files as a tar archive.
func pack(ctx context.Context, w io.Writer, list []uploadFile) error {
	to := tar.NewWriter(w)
	for _, u := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		h := &tar.Header{Name: u.name, Mode: 0o600, Size: u.info.Size(), ModTime: u.info.ModTime(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if u.info.IsDir() {
			h.Name, h.Mode, h.Size, h.Typeflag = u.name+"/", 0o700, 0, tar.TypeDir
		}
		if err := to.WriteHeader(h); err != nil {
			return fmt.Errorf("send %s: %w", u.path, err)
		}
		if u.info.IsDir() {
			continue
		}
		f, err := os.Open(u.path)
		if err != nil {
			return err
		}
		n, err := io.Copy(to, f)
		_ = f.Close() // it was only read
		if err == nil && n < u.info.Size() {
			err = errors.New("it became shorter while it was read")
		}
		if err != nil {
			return fmt.Errorf("send %s: %w", u.path, err)
		}
	}
	return to.Close()
}

// metered counts what is read. progress may be nil.
type metered struct {
	r           io.Reader
	size        int64 // of all, -1 when that is not known
	done, total int64
	progress    func(done, total int64)
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if m.done += int64(n); m.progress != nil {
		m.progress(min(m.done, m.total), m.total)
	}
	return n, err
}

// Size tells the server how much room is needed.
func (m *metered) Size() int64 { return m.size }
