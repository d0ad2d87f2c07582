package frame

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static templates
var files embed.FS

// assets are the style sheet, the script and the icon, by name.
type assets map[string]asset

// pathAssets is below the login page: a stranger's browser needs them for it.
const pathAssets = "/login/assets/"

type asset struct {
	body []byte
	kind string
	tag  string // of the contents: part of the address, so that a browser may keep the file
}

func loadAssets() (assets, error) {
	list, err := fs.ReadDir(files, "static")
	if err != nil {
		return nil, err
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	a := make(assets)
	for _, e := range list {
		body, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		a[e.Name()] = asset{body, kinds[path.Ext(e.Name())], hex.EncodeToString(sum[:6])}
	}
	return a, nil
}

// address is where a browser gets an asset.
func (a assets) address(name string) string { return pathAssets + name + "?v=" + a[name].tag }

func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one, ok := a[strings.TrimPrefix(r.URL.Path, pathAssets)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", one.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(one.body)
}
