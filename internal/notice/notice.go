// Package notice tells people, away from the console, that something needs them: by
// webhook and by mail. Messages wait in a short queue; whoever sends one goes on at
// once.
package notice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Message is what people are told.
type Message struct {
	Kind    string    `json:"kind"` // for programs
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Details any       `json:"details,omitempty"`
	Time    time.Time `json:"time"`
}

// Config says who is told.
type Config struct {
	Webhooks []string // URLs that get a Message by POST, as JSON
	// Key signs what webhooks get; nil signs nothing.
	Key  []byte
	Mail Mail
	// CAs sign the certificates of webhooks and mail servers; nil: those that the
	// system trusts.
	CAs *x509.CertPool
	Log *zap.Logger
}

// Tuning.
const (
	queueLength = 64
	tries       = 4
	tryTime     = 20 * time.Second // of one try
	firstPause  = 2 * time.Second  // before the second try; doubled for each further one
)

// Channel is one way to people, and how it went last.
type Channel struct {
	Name   string    `json:"name"`            // webhook https://..., mail by HOST:PORT
	Sent   time.Time `json:"sent,omitzero"`   // when somebody was told last
	Failed time.Time `json:"failed,omitzero"` // when it failed last
	Error  string    `json:"error,omitempty"` // of the last try, when it failed
}

// Sender sends messages. Close ends it.
type Sender struct {
	cfg   Config
	queue chan Message
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
	pause time.Duration
	http  *http.Client

	mu       sync.Mutex
	channels []Channel
}

// New makes a Sender.
func New(cfg Config) *Sender {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &Sender{cfg: cfg, queue: make(chan Message, queueLength), pause: firstPause, http: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: cfg.CAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		// A webhook that is moved is set anew, by hand.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, url := range cfg.Webhooks {
		s.channels = append(s.channels, Channel{Name: "webhook " + url})
	}
	if len(cfg.Mail.To) > 0 {
		s.channels = append(s.channels, Channel{Name: "mail by " + cfg.Mail.Server})
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.done.Go(s.routineSend)
	return s
}

// Send queues a message. It never waits: when the queue is full, the log says so.
func (s *Sender) Send(m Message) {
	m.Time = time.Now().UTC()
	select {
	case s.queue <- m:
	default:
		s.cfg.Log.Error("message to people dropped: too many are waiting", zap.String("subject", m.Subject))
	}
}

// Close gives up what has not been sent.
func (s *Sender) Close() {
	s.stop()
	s.done.Wait()
	s.http.CloseIdleConnections()
}

// Channels are the ways to people, and how each went last.
func (s *Sender) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.channels)
}

// Test sends a message by all channels at once, and says how it went.
func (s *Sender) Test(ctx context.Context, m Message) []Channel {
	m.Time = time.Now().UTC()
	s.each(m, func(channel int, send func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		s.note(channel, send(ctx))
	})
	return s.Channels()
}

// each does something with all channels at the same time: one that does not answer
// holds no other up.
func (s *Sender) each(m Message, do func(channel int, send func(context.Context) error)) {
	var all sync.WaitGroup
	for i, url := range s.cfg.Webhooks {
		all.Go(func() { do(i, func(ctx context.Context) error { return s.post(ctx, url, m) }) })
	}
	if len(s.cfg.Mail.To) > 0 {
		all.Go(func() {
			do(len(s.cfg.Webhooks), func(ctx context.Context) error { return s.cfg.Mail.send(ctx, s.cfg.CAs, m) })
		})
	}
	all.Wait()
}

func (s *Sender) routineSend() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case m := <-s.queue:
			s.each(m, s.try)
		}
	}
}

// try sends by a channel until it succeeds or has been tried often enough.
func (s *Sender) try(channel int, send func(context.Context) error) {
	pause := s.pause
	for n := 1; ; n++ {
		ctx, cancel := context.WithTimeout(s.ctx, tryTime)
		err := send(ctx)
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		what := s.note(channel, err)
		switch {
		case err == nil:
			s.cfg.Log.Info("people were told", zap.String("channel", what))
			return
		case n == tries:
			s.cfg.Log.Error("people were not told", zap.String("channel", what), zap.Error(err))
			return
		}
		s.cfg.Log.Warn("people are told again later", zap.String("channel", what), zap.Error(err))
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		pause *= 2
	}
}

// note keeps how a try went, and gives the channel's name.
func (s *Sender) note(channel int, err error) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.channels[channel]
	if err == nil {
		c.Sent, c.Error = time.Now().UTC(), ""
	} else {
		c.Failed, c.Error = time.Now().UTC(), err.Error()
	}
	return c.Name
}
