package join

import (
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/web/access"
	"castpoint/web/admit"
	"castpoint/web/api"
	"castpoint/web/delivery"
	"castpoint/web/session"
)

// pollTime is how often a waiting machine asks again, in seconds.
const pollTime = 15

// visitor is who asks for a policy or reports an event: the owner of a token,
// used or not, or of a ticket.
type visitor struct {
	content string // id; "" when nothing is assigned
	name    string
	mac     string
	boot    *delivery.Bearer // of a boot token; nil for others
}

// visitor recognises the request's token or ticket.
func (s *Service) visitor(r *http.Request) (visitor, error) {
	secret := bearer(r)
	token, err := s.tokens.Look(secret)
	if err == nil {
		v := visitor{content: s.wanted(token), name: token.Name, mac: token.MAC}
		if token.Boot {
			v.boot = bearerOf(&token)
		}
		return v, nil
	}
	if ticket, ticketErr := s.tickets.Look(secret); ticketErr == nil {
		return visitor{content: ticket.Content, name: ticket.Name, mac: ticket.MAC}, nil
	}
	return visitor{}, err
}

// servePolicy tells a machine what it is to do.
func (s *Service) servePolicy(w http.ResponseWriter, r *http.Request) {
	v, err := s.visitor(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	p := s.policy(v)
	s.log.Debug("machine asks what to do", zap.String("mac", v.mac), zap.String("action", p.Action), zap.String("note", p.Message))
	api.WriteJSON(w, http.StatusOK, p)
}

func (s *Service) policy(v visitor) protocol.Policy {
	wait := func(message string) protocol.Policy {
		return protocol.Policy{Action: protocol.ActionWait, Message: message, Poll: pollTime}
	}
	if why := s.denied(v.mac); why != "" {
		return wait(why)
	}
	if v.boot != nil && s.delivery != nil {
		if p, ok := s.delivery.Policy(*v.boot); ok {
			return p
		}
	}
	if v.content == "" {
		return wait("nothing is assigned to this machine: start castpoint serve with --assign CONTENT")
	}
	ct, err := api.Content(s.library, v.content)
	if err != nil {
		return wait(api.AsProblem(err).Error())
	}
	p, err := session.NewParcel(ct)
	if err != nil {
		return wait(api.AsProblem(err).Error())
	}
	return protocol.Policy{
		Action: protocol.ActionReceive, Content: ct.ID, Size: p.Size(), Folder: p.Folder,
		Target: s.assigned.Load().Target, After: s.assigned.Load().After,
		Message: "this machine receives " + ct.Name,
	}
}

// serveEvent takes what a machine reports.
func (s *Service) serveEvent(w http.ResponseWriter, r *http.Request) {
	var e protocol.Event
	err := api.ReadJSON(w, r, maxEventBody, &e)
	var v visitor
	if err == nil {
		v, err = s.visitor(r)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	remote := access.RemoteAddr(r)
	e.Time, e.Remote = time.Now().UTC(), remote.String()
	e.Kind, e.Message = memberName(e.Kind, remote), Printable(e.Message, 500)
	e.Name = memberName(e.Name, remote)
	if v.name != "" {
		e.Name = v.name
	}
	if v.mac != "" {
		e.MAC = v.mac
	}
	e.MAC, e.Content = Printable(e.MAC, 20), Printable(e.Content, 64)
	s.note(e)
	w.WriteHeader(http.StatusNoContent)
}

// bearerOf is whose boot token it is.
func bearerOf(t *admit.Token) *delivery.Bearer {
	return &delivery.Bearer{MAC: t.MAC, UUID: t.UUID, Name: t.Name, Architecture: t.Arch, Firmware: t.Firm, Used: !t.UsedAt.IsZero(), Proof: t.Proof}
}

// bootTokens are the tokens as package delivery needs them.
type bootTokens struct{ tokens *admit.Tokens }

// grantLife is how long a machine may take to join a session that it was admitted
// to.
const grantLife = 15 * time.Minute

func (b bootTokens) Bearer(secret string, macs []string) (delivery.Bearer, error) {
	t, err := b.tokens.Look(secret)
	if err != nil {
		return delivery.Bearer{}, err
	}
	if !t.Boot {
		return delivery.Bearer{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "boot the machine from the network", "the token is not one that a machine was booted with")
	}
	if t.MAC != "" && !slices.Contains(macs, t.MAC) {
		return delivery.Bearer{}, api.Refusal(http.StatusForbidden, protocol.CodeTokenOther, "", "the token is for the machine %s", t.MAC)
	}
	return *bearerOf(&t), nil
}

func (b bootTokens) Use(secret, name, proof string, macs []string) error {
	_, err := b.tokens.Use(secret, name, proof, macs)
	return err
}

func (b bootTokens) Grant(content, mac, name string) (string, error) {
	secret, _, err := b.tokens.Create(admit.Token{Content: content, MAC: mac, Name: name, Granted: true}, grantLife)
	return secret, err
}
