package settings

import (
	"castpoint/internal/config"
	"castpoint/multicast/seal"
	"castpoint/point/host"
	"castpoint/web/session"
)

// Sessions makes the settings of sessions out of those of the file.
func Sessions(cfg *config.Config, links []host.Link) (*session.Config, error) {
	group, groups, err := cfg.GroupRange()
	if err != nil {
		return nil, err
	}
	from, to, err := cfg.SessionPortRange()
	if err != nil {
		return nil, err
	}
	s := &session.Config{
		Interface: links[0].Name, Address: links[0].Address, Rate: int64(cfg.Rate), TotalRate: int64(cfg.TotalRate), Greedy: cfg.Sharing == "greedy",
		MinRate: int64(cfg.MinRate), MinMembers: cfg.MinMembers, MaxWait: cfg.MaxWait, MaxMembers: cfg.MaxMembers, FirstGroup: group, Groups: groups,
		FirstPort: from, Ports: int(to) - int(from) + 1, TTL: cfg.TTL, Linger: cfg.Linger,
	}
	switch cfg.SessionCipher {
	case "aes":
		s.Cipher = seal.AES256GCM
	case "chacha":
		s.Cipher = seal.ChaCha20
	}
	for _, l := range links[1:] {
		s.Others = append(s.Others, session.Link{Interface: l.Name, Address: l.Address})
	}
	return s, nil
}
