package notice

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWebhookIsTriedAgain: the first answers are failures.
func TestWebhookIsTriedAgain(t *testing.T) {
	var asked atomic.Int32
	got := make(chan Message, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		var m Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		got <- m
	}))
	defer hook.Close()
	s := New(Config{Webhooks: []string{hook.URL}})
	defer s.Close()
	s.pause = time.Millisecond
	s.Send(Message{Kind: "success-rate", Subject: "lab", Text: "40%", Details: map[string]int{"failed": 3}})
	if m := <-got; m.Kind != "success-rate" || m.Text != "40%" || m.Time.IsZero() || asked.Load() != 3 {
		t.Errorf("%+v after %d", m, asked.Load())
	}
}

// TestWebhookLeadsNowhereElse: a webhook's answer does not send the server on to an address
// of its choice, and nothing of it is shown but its number.
func TestWebhookLeadsNowhereElse(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the server has followed a webhook's answer")
	}))
	defer elsewhere.Close()
	var asked atomic.Int32
	all := make(chan bool)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 %d inside\r\nLocation: %s\r\nX-Inside: inside\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside",
			[]int{http.StatusFound, http.StatusTemporaryRedirect}[asked.Load()%2], elsewhere.URL)
		_ = conn.Close()
		if asked.Add(1) == tries {
			close(all)
		}
	}))
	defer hook.Close()
	s := New(Config{Webhooks: []string{hook.URL}})
	s.pause = time.Millisecond
	s.Send(Message{Subject: "lab"})
	<-all
	s.Close()
	if list := s.Test(t.Context(), Message{Subject: "lab"}); len(list) != 1 || list[0].Error != "it answers 302 Found" {
		t.Errorf("%+v", list)
	}
}

// TestMail speaks to a mail server of its own.
func TestMail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
		say("220 mail")
		in := bufio.NewScanner(conn)
		data, lines := false, ""
		for in.Scan() {
			line := in.Text()
			lines += line + "\n"
			switch {
			case data && line == ".":
				data = false
				say("250 taken")
			case data:
			case strings.HasPrefix(line, "DATA"):
				data = true
				say("354 go on")
			case strings.HasPrefix(line, "QUIT"):
				say("221 bye")
				got <- lines
				return
			default:
				say("250 ok")
			}
		}
	}()
	s := New(Config{Mail: Mail{Server: l.Addr().String(), From: "castpoint@example.com", To: []string{"anna@example.com", "bert@example.com"}}})
	defer s.Close()
	s.Send(Message{Subject: "Ünder\nBcc: evil@example.com", Text: "line 1\nline 2"})
	text := <-got
	for _, want := range []string{"MAIL FROM:<castpoint@example.com>", "RCPT TO:<anna@example.com>", "RCPT TO:<bert@example.com>", "Subject: =?utf-8?q?castpoint:_=C3=9Cnder_Bcc:_evil@example.com?=", "\nline 1\nline 2\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nBcc:") {
		t.Errorf("a header came in by the subject:\n%s", text)
	}
}

// TestWebhookIsSigned: with the key, so that the receiver knows who speaks; and one
// that does not answer holds no other one up.
func TestWebhookIsSigned(t *testing.T) {
	key := []byte("a key of the receiver")
	got := make(chan string, 1)
	hook := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sum := hmac.New(sha256.New, key)
		sum.Write(body)
		got <- fmt.Sprintf("%v %s", r.Header.Get(HeaderSignature) == "sha256="+hex.EncodeToString(sum.Sum(nil)), r.Header.Get("Content-Type"))
	}))
	defer hook.Close()
	stuck := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(stuck)
	cas := x509.NewCertPool()
	cas.AddCert(hook.Certificate())
	s := New(Config{Webhooks: []string{silent.URL, hook.URL}, Key: key, CAs: cas})
	defer s.Close()
	s.Send(Message{Kind: "success-rate", Text: "40%"})
	if text := <-got; text != "true application/json" {
		t.Error(text)
	}
}

// TestWebhookOfNobody: a certificate that nobody signed is no webhook.
func TestWebhookOfNobody(t *testing.T) {
	hook := httptest.NewTLSServer(http.NotFoundHandler())
	defer hook.Close()
	hook.Config.ErrorLog = log.New(io.Discard, "", 0)
	s := New(Config{Webhooks: []string{hook.URL}})
	defer s.Close()
	if err := s.post(t.Context(), hook.URL, Message{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestQueueNeverWaits(t *testing.T) {
	block := make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	defer hook.Close()
	defer close(block)
	s := New(Config{Webhooks: []string{hook.URL}})
	for range 3 * queueLength {
		s.Send(Message{})
	}
	s.Close()
}
