package run

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/step"
	"castpoint/deploy/sequence"
)

// TestReceiveWaitsForTheServer: one that is being restarted when a step wants to join
// is asked again; what it refuses is not.
func TestReceiveWaitsForTheServer(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2: // half an answer
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"content": "im`))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(protocol.Problem{Detail: "the device is not approved"})
		}
	}))
	defer server.Close()
	c, err := client.New(server.URL, protocol.NewPin(server.Certificate().Raw).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	said := 0
	s := &runServer{client: c, run: &protocol.Run{Ticket: "t"}, pause: time.Millisecond, o: Options{Say: func(string) { said++ }}}
	wanted := step.Wanted{Content: protocol.RunContent{ID: "image", Method: protocol.Method{Multicast: true}}, From: sequence.FromAuto, Out: "out", Percent: func(float64) {}}
	if err := s.Receive(t.Context(), wanted); err == nil || !strings.Contains(err.Error(), "not approved") {
		t.Error(err)
	}
	if asked.Load() != 4 || said != 3 {
		t.Errorf("asked %d times, said %d", asked.Load(), said)
	}
	asked.Store(-1000)
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Receive(ctx, wanted); err == nil {
		t.Error("a server that is away is there")
	}
}

// person answers questions out of a list.
type person struct {
	answers []string
	asked   []sequence.Question
}

func (p *person) Say(string)               {}
func (p *person) Progress(string, float64) {}
func (p *person) Trouble([]string)         {}
func (p *person) Ask(_ context.Context, list []sequence.Question) (map[string]string, error) {
	answers := make(map[string]string)
	for _, q := range list {
		if len(p.answers) == 0 {
			return nil, errors.New("this console has no input")
		}
		p.asked, answers[q.Variable], p.answers = append(p.asked, q), p.answers[0], p.answers[1:]
	}
	return answers, nil
}

// TestBeginOffer: what a person has to say at the machine before a run begins. A wrong
// password is asked for again, and who says no is believed.
func TestBeginOffer(t *testing.T) {
	var requests []protocol.RunRequest
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req protocol.RunRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		requests = append(requests, req)
		if req.Password != "sesame" {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(protocol.Problem{Detail: "wrong password", Code: protocol.CodePassword})
			return
		}
		_ = json.NewEncoder(w).Encode(protocol.Run{ID: "run1"})
	}))
	defer server.Close()
	c, err := client.New(server.URL, protocol.NewPin(server.Certificate().Raw).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	offers := []protocol.RunOffer{
		{Deployment: "1", Name: "desk", Description: "Windows and\nOffice"},
		{Deployment: "2", Name: "lab", Sequence: "install", Confirm: true, Password: true, Description: strings.Repeat("long ", 30)},
	}
	who := &person{answers: []string{"lab: " + strings.Repeat("long ", 12) + "lo...", "yes", "open", "Sesame", "sesame"}}
	o := Options{Say: func(string) {}, Tasks: &TaskOptions{Person: who}}
	offer, err := choose(t.Context(), who, offers)
	if err != nil || offer.Name != "lab" {
		t.Fatalf("%+v, %v; asked %+v", offer, err, who.asked)
	}
	if got := who.asked[0].Choices; got[0] != "desk: Windows and Office" || len(got[1]) != maxChoice {
		t.Errorf("the menu is %q", got)
	}
	run, err := beginOffer(t.Context(), c, o, offer, protocol.RunRequest{})
	if err != nil || run.ID != "run1" || len(requests) != 3 || !requests[2].Confirmed || requests[2].Deployment != "2" {
		t.Errorf("%+v, %v; requests %+v", run, err, requests)
	}
	if last := who.asked[len(who.asked)-1]; !last.Secret || !strings.Contains(last.Prompt, "wrong") {
		t.Errorf("asked at last %+v", last)
	}
	if q := who.asked[1]; q.Choices[0] != "no" {
		t.Errorf("without a choice the disk is lost: %+v", q)
	}
	who.answers = []string{"no"}
	if _, err := beginOffer(t.Context(), c, o, offer, protocol.RunRequest{}); !errors.Is(err, errDeclined) || len(requests) != 3 {
		t.Errorf("%v, %d requests", err, len(requests))
	}
}
