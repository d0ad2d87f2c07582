// Package notice tells people, away from the console, that something needs them: by
// webhook and by mail. Messages wait in a short queue; whoever sends one goes on at
// once.
package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/smtp"
	"strings"
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
	Mail     Mail
	Log      *zap.Logger
}

// Mail is a mail server and who gets mail by it. Without To none is sent.
type Mail struct {
	Server   string // HOST:PORT; STARTTLS is used when it is offered
	From     string
	To       []string
	User     string // "" does not log in
	Password string
}

// Tuning.
const (
	queueLength = 64
	tries       = 4
	tryTime     = 20 * time.Second // of one try
	firstPause  = 2 * time.Second  // before the second try; doubled for each further one
)

// Sender sends messages. Close ends it.
type Sender struct {
	cfg   Config
	queue chan Message
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
	pause time.Duration
	http  *http.Client
}

// New makes a Sender.
func New(cfg Config) *Sender {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s := &Sender{cfg: cfg, queue: make(chan Message, queueLength), pause: firstPause, http: &http.Client{
		// A webhook that is moved is set anew, by hand.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
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

func (s *Sender) routineSend() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case m := <-s.queue:
			for _, url := range s.cfg.Webhooks {
				s.try("webhook "+url, func(ctx context.Context) error { return s.post(ctx, url, m) })
			}
			if len(s.cfg.Mail.To) > 0 {
				s.try("mail by "+s.cfg.Mail.Server, func(ctx context.Context) error { return s.cfg.Mail.send(ctx, m) })
			}
		}
	}
}

// try sends until it succeeds or has been tried often enough.
func (s *Sender) try(what string, send func(context.Context) error) {
	pause := s.pause
	for n := 1; ; n++ {
		ctx, cancel := context.WithTimeout(s.ctx, tryTime)
		err := send(ctx)
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			s.cfg.Log.Info("people were told", zap.String("channel", what))
			return
		}
		if n == tries {
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

func (s *Sender) post(ctx context.Context, url string, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "castpoint")
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode >= 300 {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}

// send sends one mail (RFC 5321, 5322).
func (m *Mail) send(ctx context.Context, msg Message) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer func() { _ = c.Close() }()
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	if m.User != "" {
		// PlainAuth refuses to send a password over a connection without TLS.
		if err := c.Auth(smtp.PlainAuth("", m.User, m.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.text(&msg)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// text is a mail with its header.
func (m *Mail) text(msg *Message) []byte {
	var b bytes.Buffer
	oneLine := strings.NewReplacer("\r", " ", "\n", " ").Replace
	for _, h := range [][2]string{
		{"From", m.From}, {"To", strings.Join(m.To, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", oneLine("castpoint: "+msg.Subject))},
		{"Date", msg.Time.Format(time.RFC1123Z)}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "8bit"},
		{"Auto-Submitted", "auto-generated"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], oneLine(h[1]))
	}
	b.WriteString("\r\n")
	b.WriteString(strings.ReplaceAll(strings.ReplaceAll(msg.Text, "\r", ""), "\n", "\r\n"))
	b.WriteString("\r\n")
	return b.Bytes()
}
