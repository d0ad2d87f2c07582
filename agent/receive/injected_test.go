//go:build !windows

package receive

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"castpoint/agent"
	"castpoint/content"
	"castpoint/internal/netio"
	"castpoint/test/joinserver"
	"castpoint/web"
)

// Somebody repeats datagrams of a session from an address of his own: people and the
// server hear from which, and the session goes on.
func TestInjectedIsTold(t *testing.T) {
	s := joinserver.New(t, 3*joinserver.BlockSize, content.Distribution{Multicast: true}, func(c *web.Config) { c.Sessions.MinMembers = 2 })
	var events []agent.Event
	o := options(t, s, &events)
	var mu sync.Mutex
	joined, told := make(chan agent.Event, 1), make(chan agent.Event, 1)
	o.Report = func(e agent.Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.Kind {
		case agent.EventJoined:
			joined <- e
		case agent.EventInjected:
			told <- e
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := Receive(ctx, o)
		ended <- err
	}()
	group := netip.MustParseAddrPort((<-joined).Group)
	repeat(t, group)
	const rogue = "127.0.0.66"
	if e := <-told; !strings.Contains(e.Message, "somebody at "+rogue+" sends") {
		t.Errorf("%+v", e)
	}
	c, err := s.Keeper().Find(s.Keeper().List()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if list := c.Info().Injectors; len(list) == 1 && list[0].Address.String() == rogue && list[0].Reports == 1 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the server knows of %+v", list)
		}
	}
	c.StartNow()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	inPlace(t, o.Out, s.Data)
}

// repeat sends a datagram of the group once more, from another address.
func repeat(t *testing.T, group netip.AddrPort) {
	t.Helper()
	in, err := netio.OpenGroupReceiver(netio.GroupReceiverConfig{Interface: "lo", Group: group, Feedback: netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var d []byte
	for d == nil {
		if err := in.ReadGroup(func(b []byte, _ netip.Addr, _ time.Time) { d = bytes.Clone(b) }); err != nil {
			t.Fatal(err)
		}
	}
	out, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	p := ipv4.NewPacketConn(out)
	if err := p.SetMulticastInterface(lo); err != nil {
		t.Fatal(err)
	}
	if err := p.SetMulticastLoopback(true); err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteToUDPAddrPort(d, group); err != nil {
		t.Fatal(err)
	}
}
