package library

import (
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"castpoint/agent/command"
	"castpoint/content"
	"castpoint/content/fetch"
	"castpoint/internal/config"
	"castpoint/web/admin/contents"
)

// sourceFlags say where the files of a content come from, and what to write on it: those
// of add and of update.
type sourceFlags struct {
	req    contents.AddContent
	kernel string
	rate   config.Rate
	upload bool
}

func (s *sourceFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.kernel, "kernel", "", "`FILE` of the kernel of a Linux boot image")
	f.StringVar(&s.req.Initrd, "initrd", "", "`FILE` of its initramfs")
	f.StringVar(&s.req.Version, "version", "", "`VERSION` (default: from the image)")
	f.StringVar(&s.req.Language, "language", "", "`TAGS` of its languages, as in de-DE (default: from the image)")
	f.StringVar(&s.req.Source, "source", "", "`PATH` or URL that repairs read from (default: what is added)")
	f.IntVar(&s.req.Index, "index", 0, "`NUMBER` of the image inside the WIM that is meant")
	f.StringVar(&s.req.Arch, "arch", "", "`ARCH`: amd64, arm64, 386, arm (default: from the image)")
	f.BoolVar(&s.req.HardLink, "hard-link", false, "take the files themselves instead of copies; they become read-only and must not be written again")
	f.StringVar(&s.req.SHA256, "sha256", "", "`HASH` that a file behind a URL must have")
	f.Var(&s.rate, "fetch-rate", "`RATE` at which it is fetched at most, as in 200mbit (default: no limit)")
	f.BoolVar(&s.upload, "upload", false, "read the files here and send them to the server (default: when it cannot read them)")
}

// resolve fills the request in. PATH is the last of at most two arguments, if --kernel
// does not stand for it; missing is what is said when there is neither.
func (s *sourceFlags) resolve(args []string, missing error) (err error) {
	if err := knownArch(s.req.Arch); err != nil {
		return err
	}
	path := s.kernel
	switch {
	case len(args) == 2 && s.kernel != "":
		return command.Usage("say either PATH or --kernel")
	case len(args) == 2:
		path = args[1]
	case s.kernel == "":
		return missing
	}
	if s.req.Path, err = sourcePath(path); err != nil {
		return err
	}
	if s.req.Initrd, err = sourcePath(s.req.Initrd); err != nil {
		return err
	}
	s.req.FetchRate = int64(s.rate)
	if !fetch.IsURL(s.req.Path) && (s.req.SHA256 != "" || s.rate != 0) {
		return command.Usage("--sha256 and --fetch-rate are for URLs")
	}
	return nil
}

// resolveNew is resolve for a content that is not there yet, whose kind is known.
func (s *sourceFlags) resolveNew(args []string) (err error) {
	if s.req.Kind == content.KindOSImage && (s.kernel != "" || s.req.Initrd != "") {
		return command.Usage("--kernel and --initrd are for boot images")
	}
	if s.req.Loaders != "" && (s.req.Kind != content.KindBootImage || s.kernel != "") {
		return command.Usage("--loaders is for boot images that are WIMs")
	}
	if s.req.Loaders, err = sourcePath(s.req.Loaders); err != nil {
		return err
	}
	return s.resolve(args, command.Usage("say what to add: castpoint content add %s PATH", s.req.Kind))
}

// sourcePath makes a path of the command line one that the server understands.
func sourcePath(path string) (string, error) {
	if path == "" || fetch.IsURL(path) {
		return path, nil
	}
	if scheme, _, ok := strings.Cut(path, "://"); ok && !strings.Contains(scheme, "/") {
		return "", command.Usage("%s: %s is not fetched, only http and https are", path, scheme)
	}
	return filepath.Abs(path)
}
