package notice

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"time"
)

// Mail is a mail server and who gets mail by it. Without To none is sent.
type Mail struct {
	Server   string // HOST:PORT
	TLS      string // one of the words below
	From     string
	To       []string
	User     string // "" does not log in
	Password string
}

// How the connection to a mail server is protected.
const (
	TLSAuto     = "auto"     // TLS on port 465, STARTTLS elsewhere when it is offered
	TLSStart    = "starttls" // STARTTLS, or no mail
	TLSImplicit = "tls"      // from the first byte
	TLSNone     = "none"     // never; nobody logs in then
)

// implicitPort is the port of mail submission by TLS from the first byte (RFC 8314).
const implicitPort = "465"

// send sends one mail (RFC 5321, 5322).
func (m *Mail) send(ctx context.Context, cas *x509.CertPool, msg Message) error {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	secure := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: cas}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The end of ctx ends whatever waits.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if m.TLS == TLSImplicit || port == implicitPort && (m.TLS == TLSAuto || m.TLS == "") {
		hello := tls.Client(conn, secure)
		if err := hello.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("begin TLS: %w", err)
		}
		conn = hello
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Hello(helloName); err != nil {
		return err
	}
	if _, protected := conn.(*tls.Conn); !protected && m.TLS != TLSNone {
		offered, _ := c.Extension("STARTTLS")
		if !offered && m.TLS == TLSStart {
			return errors.New("the server does not offer STARTTLS, which notify-mail-tls demands")
		}
		if offered {
			if err := c.StartTLS(secure); err != nil {
				return fmt.Errorf("begin TLS: %w", err)
			}
		}
	}
	if m.User != "" {
		if err := m.login(c); err != nil {
			return fmt.Errorf("log in as %s: %w", m.User, err)
		}
	}
	if err := c.Mail(m.From); err != nil {
		return fmt.Errorf("sender %s: %w", m.From, err)
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return fmt.Errorf("receiver %s: %w", to, err)
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
	_ = c.Quit() // the mail has been taken: whatever comes now, it is not sent once more
	return nil
}

// helloName is what this host calls itself: its own name, which may be that of a
// container, would say nothing to a mail server.
const helloName = "castpoint.invalid"

// login shows the password, by PLAIN or by what Exchange has instead, and only where
// nobody else can read it.
func (m *Mail) login(c *smtp.Client) error {
	_, list := c.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(list))
	if _, protected := c.TLSConnectionState(); !protected {
		return errors.New("the connection has no TLS, and the password stays here: use a server with STARTTLS, or its port 465")
	}
	switch {
	case slices.Contains(ways, "PLAIN"):
		host, _, _ := net.SplitHostPort(m.Server) // it has been split before
		return c.Auth(smtp.PlainAuth("", m.User, m.Password, host))
	case slices.Contains(ways, "LOGIN"):
		return c.Auth(&loginAuth{user: m.User, password: m.Password})
	case len(ways) == 0:
		return errors.New("the server lets nobody log in: leave out notify-mail-user")
	}
	return fmt.Errorf("the server wants one of %s: castpoint knows PLAIN and LOGIN", strings.Join(ways, ", "))
}

// loginAuth is AUTH LOGIN (draft-murchison-sasl-login): the server asks for the name,
// then for the password.
type loginAuth struct {
	user, password string
	asked          int
}

func (l *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (l *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.user), nil
	case 2:
		return []byte(l.password), nil
	}
	return nil, errors.New("the server asks for more than a name and a password")
}

// text is a mail with its header.
func (m *Mail) text(msg *Message) []byte {
	var b bytes.Buffer
	oneLine := strings.NewReplacer("\r", " ", "\n", " ").Replace
	_, domain, _ := strings.Cut(m.From, "@")
	for _, h := range [][2]string{
		{"From", m.From}, {"To", strings.Join(m.To, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", oneLine("castpoint: "+msg.Subject))},
		{"Date", msg.Time.Format(time.RFC1123Z)}, {"Message-ID", "<" + rand.Text() + "@" + domain + ">"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "8bit"},
		{"Auto-Submitted", "auto-generated"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], oneLine(h[1]))
	}
	b.WriteString("\r\n")
	b.WriteString(strings.ReplaceAll(strings.ReplaceAll(msg.Text, "\r", ""), "\n", "\r\n"))
	b.WriteString("\r\n")
	return b.Bytes()
}
