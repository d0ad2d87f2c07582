package point

import (
	"castpoint/boot/windows"
	"castpoint/content/library"
	"castpoint/internal/notice"
	"castpoint/point/explain"
	"castpoint/point/logging"
	"castpoint/point/settings"
	"castpoint/web/api"
)

// Operations are what a serving point adds to the admin API, for its document: nothing
// of it is running, and they must not be called.
func Operations() []func(*api.API) { return (&point{}).routes() }

// routes are what a serving point adds to the admin API.
func (p *point) routes() []func(*api.API) {
	return []func(*api.API){
		explain.Operations(func() (e *explain.Explainer, done func()) {
			p.force.do(func(r *ruling) { e = r.explainer })
			return e, func() {}
		}),
		reportOperation(func() *library.Library { return p.library }, func() (w *windows.Chain, done func()) {
			p.force.do(func(r *ruling) { w = r.Windows })
			return w, func() {}
		}),
		leasesOperation(p.currentLeases),
		settingsOperation(func() (s *settings.Settings) { p.force.do(func(r *ruling) { s = r.settings }); return s }),
		reloadOperation(p.reload),
		logging.Operations(p.levels),
		p.doctorOperation,
		notifyOperations(func() *notice.Sender { return p.kept.notices }),
	}
}
