package notice

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// postOffice is a mail server that others wrote.
type postOffice struct {
	ways []string // of logging in
	mu   sync.Mutex
	busy int // so many mails are put off
	mail chan letter
}

type letter struct {
	from, user, text string
	to               []string
	protected        bool
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, protected := c.TLSConnectionState()
	return &visit{office: p, letter: letter{protected: protected}}, nil
}

// visit is a session with the post office.
type visit struct {
	office *postOffice
	letter
}

func (v *visit) AuthMechanisms() []string { return v.office.ways }

func (v *visit) Auth(way string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "castpoint" || password != "s3cret" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "Authentication credentials invalid"}
		}
		v.user = user
		return nil
	}
	switch way {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// loginServer is the server's part of AUTH LOGIN, which go-sasl has no more.
type loginServer struct {
	check func(user, password string) error
	asked int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	if v.office.ways != nil && v.user == "" {
		return smtp.ErrAuthRequired
	}
	v.from = from
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	v.to = append(v.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	v.office.mu.Lock()
	v.office.busy--
	later := v.office.busy >= 0
	v.office.mu.Unlock()
	if later {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
	}
	b, err := io.ReadAll(r)
	v.text = string(b)
	v.office.mail <- v.letter
	return err
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }

// certificate is one for 127.0.0.1, and the pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// open starts a post office. cert nil has no TLS.
func (p *postOffice) open(t *testing.T, cert *tls.Certificate, implicit bool) string {
	t.Helper()
	p.mail = make(chan letter, 10)
	s := smtp.NewServer(p)
	s.Domain, s.AllowInsecureAuth, s.ErrorLog = "mail.example.com", true, silent{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if cert != nil {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		if implicit {
			l = tls.NewListener(l, s.TLSConfig)
		}
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return address
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// TestMailServers: with TLS of both kinds, with both ways of logging in, and what
// comes of certificates and passwords that are wrong.
func TestMailServers(t *testing.T) {
	good, trusted := certificate(t, "127.0.0.1")
	other, _ := certificate(t, "127.0.0.1")
	elsewhere, trustedElsewhere := certificate(t, "mail.example.com")
	for _, c := range []struct {
		name     string
		cert     *tls.Certificate
		cas      *x509.CertPool
		implicit bool
		ways     []string
		mail     Mail
		says     string // of the error; "" for none
	}{
		{"plain", nil, nil, false, nil, Mail{}, ""},
		{"STARTTLS when it is offered", &good, trusted, false, nil, Mail{}, ""},
		{"STARTTLS demanded", &good, trusted, false, nil, Mail{TLS: TLSStart}, ""},
		{"STARTTLS demanded, and not offered", nil, trusted, false, nil, Mail{TLS: TLSStart}, "does not offer STARTTLS"},
		{"STARTTLS offered, and not wanted", &good, nil, false, nil, Mail{TLS: TLSNone}, ""},
		{"TLS", &good, trusted, true, nil, Mail{TLS: TLSImplicit}, ""},
		{"PLAIN by STARTTLS", &good, trusted, false, []string{"PLAIN", "LOGIN"}, Mail{User: "castpoint", Password: "s3cret"}, ""},
		{"PLAIN by TLS", &good, trusted, true, []string{"PLAIN"}, Mail{TLS: TLSImplicit, User: "castpoint", Password: "s3cret"}, ""},
		{"LOGIN", &good, trusted, false, []string{"LOGIN"}, Mail{User: "castpoint", Password: "s3cret"}, ""},
		{"wrong password, PLAIN", &good, trusted, false, []string{"PLAIN"}, Mail{User: "castpoint", Password: "guess"}, "credentials invalid"},
		{"wrong password, LOGIN", &good, trusted, false, []string{"LOGIN"}, Mail{User: "castpoint", Password: "guess"}, "credentials invalid"},
		{"no TLS for a password", nil, trusted, false, []string{"PLAIN"}, Mail{User: "castpoint", Password: "s3cret"}, "the password stays here"},
		{"no TLS for a password, by wish", &good, trusted, false, []string{"PLAIN"}, Mail{TLS: TLSNone, User: "castpoint", Password: "s3cret"}, "the password stays here"},
		{"no known way", &good, trusted, false, []string{"CRAM-MD5"}, Mail{User: "castpoint", Password: "s3cret"}, "wants one of CRAM-MD5"},
		{"certificate of nobody", &other, trusted, false, nil, Mail{}, "certificate"},
		{"certificate of nobody, TLS", &other, trusted, true, nil, Mail{TLS: TLSImplicit}, "certificate"},
		{"certificate of another host", &elsewhere, trustedElsewhere, false, nil, Mail{}, "127.0.0.1"},
		{"TLS where there is none", nil, trusted, false, nil, Mail{TLS: TLSImplicit}, "begin TLS"},
		{"nobody there", &good, trusted, false, nil, Mail{To: []string{"nobody@example.com"}}, "no such user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			office := &postOffice{ways: c.ways}
			m := c.mail
			m.Server, m.From = office.open(t, c.cert, c.implicit), "castpoint@example.com"
			if m.To == nil {
				m.To = []string{"anna@example.com"}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := m.send(ctx, c.cas, Message{Subject: "lab", Text: ".\n40 % have\n.hidden", Time: time.Now()})
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				if err != nil && strings.Contains(err.Error(), m.Password) && m.Password != "" {
					t.Errorf("the error shows the password: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := <-office.mail
			if got.from != m.From || len(got.to) != 1 || got.user != m.User || !strings.Contains(got.text, "\r\n\r\n.\r\n40 % have\r\n.hidden\r\n") || !strings.Contains(got.text, "Message-ID: <") {
				t.Errorf("%+v", got)
			}
			if want := c.cert != nil && m.TLS != TLSNone; got.protected != want {
				t.Errorf("protected: %v, want %v", got.protected, want)
			}
		})
	}
}

// TestMailIsTriedAgain: a server that is busy gets the mail later, one that is not
// there is told of in the log and in Channels.
func TestMailIsTriedAgain(t *testing.T) {
	office := &postOffice{busy: 2}
	server := office.open(t, nil, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for address, works := range map[string]bool{server: true, away: false} {
		core, logs := observer.New(zap.InfoLevel)
		s := New(Config{Mail: Mail{Server: address, From: "castpoint@example.com", To: []string{"anna@example.com"}}, Log: zap.New(core)})
		s.pause = time.Millisecond
		s.Send(Message{Subject: "lab", Text: "40 %"})
		want := "people were not told"
		if works {
			want = "people were told"
		}
		for deadline := time.Now().Add(time.Minute); logs.FilterMessage(want).Len() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never %q: %v", want, logs.All())
			}
		}
		if again := logs.FilterMessage("people are told again later").Len(); again != map[bool]int{true: 2, false: tries - 1}[works] {
			t.Errorf("%s: tried again %d times", address, again)
		}
		c := s.Channels()
		if len(c) != 1 || c[0].Failed.IsZero() || c[0].Sent.IsZero() == works || (c[0].Error == "") != works {
			t.Errorf("%+v", c)
		}
		s.Close()
	}
	if got := <-office.mail; !strings.Contains(got.text, "castpoint: lab") {
		t.Errorf("%+v", got)
	}
}

// TestSilentMailServer: one that takes the connection and says nothing costs its time,
// and no more.
func TestSilentMailServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := Mail{Server: l.Addr().String(), From: "a@example.com", To: []string{"b@example.com"}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var timeout net.Error
	if err := m.send(ctx, nil, Message{}); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
}
