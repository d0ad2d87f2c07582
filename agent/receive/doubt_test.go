//go:build !windows

package receive

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/target"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/multicast"
	"castpoint/test/joinserver"
	"castpoint/web/admin/contents"
)

// hurt changes the object of the server's content on the disk.
func hurt(t *testing.T, s *joinserver.Server, change func(path string) error) {
	t.Helper()
	sum := s.Content.Files[0].Digest.String()
	path := filepath.Join(s.Config.Library.Dir(), "objects", sum[:2], sum)
	if err := errors.Join(os.Chmod(path, 0o644), change(path)); err != nil {
		t.Fatal(err)
	}
}

// A content that is damaged on the server's disk is not tried again and again: the
// server is told, finds it out itself, and says so to whoever comes.
func TestDamagedContent(t *testing.T) {
	flip := func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("damaged"), 3*joinserver.BlockSize+100)
		return errors.Join(err, f.Close())
	}
	for _, c := range []struct {
		name   string
		d      content.Distribution
		change func(path string) error
		alone  bool
		says   string
	}{
		{"by multicast", content.Distribution{Multicast: true, MulticastOnly: true}, flip, false, fmt.Sprintf("the block at byte %d is damaged", 3*joinserver.BlockSize)},
		{"by unicast", content.Distribution{Multicast: true}, flip, true, fmt.Sprintf("the block at byte %d is damaged", 3*joinserver.BlockSize)},
		{"cut off, by multicast", content.Distribution{Multicast: true, MulticastOnly: true}, func(path string) error { return os.Truncate(path, 5*joinserver.BlockSize) }, false, "it cannot be read at byte"},
		{"cut off, by unicast", content.Distribution{Multicast: true}, func(path string) error { return os.Truncate(path, 5*joinserver.BlockSize) }, true, fmt.Sprintf("it has %d bytes", 5*joinserver.BlockSize)},
		{"gone", content.Distribution{Multicast: true}, os.Remove, false, "it is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := joinserver.New(t, 10*joinserver.BlockSize+10, c.d, nil)
			hurt(t, s, c.change)
			var events []agent.Event
			o := options(t, s, &events)
			o.NoMulticast = c.alone
			began := time.Now()
			_, err := Receive(t.Context(), o)
			p, ok := errors.AsType[*protocol.Problem](err)
			if !ok || p.Code != protocol.CodeDamaged || p.Status != http.StatusConflict {
				t.Fatalf("%v", err)
			}
			for _, word := range []string{c.says, "castpoint content repair image", "image.wim"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("it does not say %q: %v", word, err)
				}
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if now, err := s.Config.Library.Get("image"); err != nil || now.Damage() == nil {
				t.Errorf("the library does not know: %v", err)
			}
			// Others are told at once, and their tokens stay good.
			next := options(t, s, &events)
			if _, err := Receive(t.Context(), next); err == nil || !strings.Contains(err.Error(), "castpoint content repair image") {
				t.Errorf("the next one: %v", err)
			}
			if _, err := os.Stat(next.Out + target.PartSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it has left something behind: %v", err)
			}
			// Repaired out of the original, both go on.
			var v library.Validation
			if err := s.Client().Stream(t.Context(), http.MethodPost, "/contents/image/repair", contents.RepairContent{}, nil, &v); err != nil || v.Err() != nil {
				t.Fatal(err)
			}
			for _, o := range []Options{o, next} {
				if _, err := Receive(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				inPlace(t, o.Out, s.Data)
			}
		})
	}
}

// A block that is right on the server is nobody's reason to stop.
func TestDoubtWithoutReason(t *testing.T) {
	s := joinserver.New(t, 3*joinserver.BlockSize, content.Distribution{Multicast: true}, nil)
	var events []agent.Event
	o := options(t, s, &events)
	c, err := client.New(o.Server, o.Pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	adm, err := c.Join(t.Context(), multicast.JoinRequest{Token: o.Token})
	if err != nil {
		t.Fatal(err)
	}
	object := adm.Objects[0].SHA256
	for _, d := range []multicast.Doubt{{Block: 0}, {Block: 2}, {Whole: true}} {
		if err := c.Doubt(t.Context(), adm.Ticket, object, d); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for _, block := range []int{-1, 3, 1 << 40} {
		if err := c.Doubt(t.Context(), adm.Ticket, object, multicast.Doubt{Block: block}); err == nil || !strings.Contains(err.Error(), "which has 3") {
			t.Errorf("block %d: %v", block, err)
		}
	}
	other := strings.Repeat("0", 64)
	if err := c.Doubt(t.Context(), adm.Ticket, other, multicast.Doubt{}); err == nil {
		t.Error("an object of nobody is doubted")
	}
	if err := c.Doubt(t.Context(), "wrong", object, multicast.Doubt{}); err == nil {
		t.Error("somebody doubts without a ticket")
	}
	if now, err := s.Config.Library.Get("image"); err != nil || now.Damage() != nil {
		t.Errorf("the library believes it: %v", err)
	}
}
