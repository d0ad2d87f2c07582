package notice

import (
	"bufio"
	"encoding/json"
	"fmt"
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
// of its choice.
func TestWebhookLeadsNowhereElse(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the server has followed a webhook's answer")
	}))
	defer elsewhere.Close()
	var asked atomic.Int32
	all := make(chan bool)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, []int{http.StatusFound, http.StatusTemporaryRedirect}[asked.Load()%2])
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
