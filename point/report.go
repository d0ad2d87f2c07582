package point

import (
	"context"
	"net/http"

	"castpoint/boot/windows"
	"castpoint/boot/winpe"
	"castpoint/content/library"
	"castpoint/web/access"
	"castpoint/web/api"
)

// reportOperation answers what machines can boot a boot image.
func reportOperation(library func() *library.Library, windows func() (*windows.Chain, func())) func(*api.API) {
	return func(a *api.API) {
		api.Answer(a, api.Operation{
			ID: "get-boot-report", Method: http.MethodGet, Path: "/boot-images/{id}/report", Scope: access.Read, Tag: "contents",
			Summary: "What machines can boot a Windows boot image",
			About:   "Says for each kind of firmware, with Secure Boot and without, whether it can boot the image, which files are missing, where they can be had, and who has signed the loaders.",
		}, func(_ context.Context, in *struct {
			ID string `path:"id" doc:"id or name of the boot image"`
		}) (*winpe.Report, error) {
			ct, err := library().Get(in.ID)
			if err != nil {
				return nil, api.Problem(http.StatusNotFound, "castpoint content list shows what there is", "%v", err)
			}
			w, done := windows()
			defer done()
			r, err := w.Report(ct)
			if err != nil {
				return nil, api.Problem(http.StatusUnprocessableEntity, "castpoint content show "+ct.ID+" says what it is", "content %s is no usable Windows boot image: %v", ct.ID, err)
			}
			return r, nil
		})
	}
}
