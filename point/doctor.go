package point

import (
	"context"
	"net/http"

	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/web/access"
	"castpoint/web/api"
)

// Visit is what the doctor has found, in the order in which a fault should be
// looked for.
type Visit struct {
	Items []doctor.Finding `json:"items" nullable:"false"`
}

// doctorOperation lets the doctor look from within the server. It sees what the
// server's user may see: firewall rules, for one, only with the right to read them.
func (p *point) doctorOperation(a *api.API) {
	api.Answer(a, api.Operation{
		ID: "run-doctor", Method: http.MethodPost, Path: "/doctor", Scope: access.Operate, Tag: "server", Reads: true,
		Summary: "Look for what keeps machines from booting, and say what to do",
		About:   "It takes some seconds, and changes nothing. It sees what the user of the server may see; castpoint doctor as root sees more.",
	}, func(ctx context.Context, _ *struct{}) (Visit, error) {
		if p.doctor == nil {
			return Visit{}, api.Problem(http.StatusNotImplemented, "castpoint doctor looks by itself", "this server has no doctor")
		}
		var cfg config.Config
		p.force.do(func(r *ruling) { cfg = p.inPlace(r.settings) })
		found, err := p.doctor(ctx, p.server.Client(), &cfg, p.settings.File())
		return Visit{append([]doctor.Finding{}, found...)}, err
	})
}
