package windows

import (
	"context"
	"crypto/sha1" //nolint:gosec // the WIM format names files by it
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"castpoint/boot"
	"castpoint/boot/bcd"
	"castpoint/boot/source"
	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/wim"
	"castpoint/content/wim/overlay"
)

// machineBoot is one machine's way from the boot configuration to the end of its
// WIM. TFTP clients ask for a file's size before they ask for the file, and
// resume by range over HTTP, so ticket and WIM stay the same during one boot.
type machineBoot struct {
	mu       sync.Mutex
	image    *winpe.Image
	digest   content.Digest
	settings content.WinPE
	wim      *overlay.Composite
	made     time.Time
	asked    bool // the WIM was asked for: the next boot configuration starts a new boot
	last     time.Time
}

// boot is the state of the machine's boot.
func (w *Chain) boot(folder string) *machineBoot {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boots[folder]
	if b == nil {
		if len(w.boots) >= maxWindowsBoots {
			oldest := ""
			for name, o := range w.boots {
				if oldest == "" || o.last.Before(w.boots[oldest].last) {
					oldest = name
				}
			}
			delete(w.boots, oldest)
		}
		b = &machineBoot{}
		w.boots[folder] = b
	}
	b.last = w.now()
	return b
}

// Begin is called for what a machine asks for before its WIM: when it had asked
// for that already, it has started again, and gets a new ticket.
func (w *Chain) Begin(m boot.Machine, c boot.Client) {
	b := w.boot(Folder(m, c))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked {
		b.wim, b.asked = nil, false
	}
}

// openBCD gives the boot configuration of a machine: the one in the settings,
// the one in a loader folder, or one made for it.
func (w *Chain) openBCD(_ context.Context, name string, c boot.Client, m boot.Machine, ct *content.Content, own bool) (*source.File, error) {
	settings := w.settings(c)
	data := settings.BCD
	if path, ok := w.cfg.Loaders.Find("boot/bcd"); ok && data == nil {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read boot configuration: %w", err)
		}
	}
	if data == nil {
		var err error
		if data, err = w.makeBCD(settings, c, m, ct, own); err != nil {
			return nil, err
		}
	}
	if own {
		w.Begin(m, c)
	}
	out := source.Made(name, c, data, w.now())
	out.Text = false
	return out, nil
}

// makeBCD makes the boot configuration of a machine.
func (w *Chain) makeBCD(settings boot.Settings, c boot.Client, m boot.Machine, ct *content.Content, own bool) ([]byte, error) {
	img, release, err := w.image(ct)
	if err != nil {
		return nil, err
	}
	defer release()
	o := settings.Store
	o.Firmware, _ = Firmware(m)
	o.Entries = slices.Clone(o.Entries)
	if len(o.Entries) == 0 {
		o.Entries = []bcd.Entry{{}}
	}
	if o.VariableWindow == nil {
		// The TFTP server has it, and it adapts to what the machine can take.
		yes := true
		o.VariableWindow = &yes
	}
	for i := range o.Entries {
		e := &o.Entries[i]
		if e.WIM == "" && own {
			e.WIM = backslashes(Folder(m, c) + "/" + WIMName)
		}
		if e.Loader == "" {
			e.Loader, _ = img.LoaderPath(o.Firmware)
		}
	}
	store, err := bcd.Ramdisk(o)
	if err != nil {
		return nil, fmt.Errorf("boot configuration for %s: %w", c, err)
	}
	return store.Bytes()
}

// openWIM gives the WIM of a machine: the stored one with agent and ticket
// added, or the stored one when there is no agent or the machine is unknown.
func (w *Chain) openWIM(ctx context.Context, name string, c boot.Client, m boot.Machine, ct *content.Content, own bool) (*source.File, error) {
	img, release, err := w.image(ct)
	if err != nil {
		return nil, err
	}
	agent := w.agent(img.Arch())
	if !own || agent == nil || w.cfg.Ticket == nil {
		release()
		w.log.Warn("boot image served as it is stored: it will not report here", zap.Inline(c), zap.String("content", ct.ID),
			zap.Bool("known", own), zap.Bool("agent", agent != nil))
		return w.openStored(name, ct, c)
	}
	obj, _ := ct.File(content.RoleImage)
	b := w.boot(Folder(m, c))
	b.mu.Lock()
	defer b.mu.Unlock()
	now := w.now()
	if b.wim == nil || b.image != img || b.digest != obj.Digest || b.settings != ct.WinPE || now.Sub(b.made) > ticketReuse {
		if err := w.makeWIM(ctx, b, img, agent, ct, c); err != nil {
			release()
			return nil, err
		}
		b.image, b.digest, b.settings, b.made = img, obj.Digest, ct.WinPE, now
		w.log.Info("made the WIM of a machine", zap.Inline(c), zap.String("content", ct.ID),
			zap.Int64("size", b.wim.Size()), zap.Int64("bytes", b.wim.Tail()), zap.Duration("took", w.now().Sub(now)))
	}
	b.asked = true
	return &source.File{
		ReaderAt: b.wim, Name: name, Size: b.wim.Size(), ModTime: ct.Created,
		ETag: etag(b.wim.ETag(obj.Digest.String())), Made: true, Client: c,
		Release: release,
	}, nil
}

func (w *Chain) makeWIM(ctx context.Context, b *machineBoot, img *winpe.Image, agent *winpe.Agent, ct *content.Content, c boot.Client) error {
	t, err := w.cfg.Ticket(ctx, c)
	if err != nil {
		w.log.Warn("boot ticket refused", zap.Inline(c), zap.Error(err))
		return fmt.Errorf("%w: the server gives this machine no ticket: %w", boot.ErrForbidden, err)
	}
	config := winpe.Config{Server: t.Server, Pin: t.Pin, Token: t.Token}
	if len(c.MAC) > 0 {
		config.MAC = c.MAC.String()
	}
	if boot.ValidUUID(c.UUID) {
		config.UUID = c.UUID
	}
	b.wim, err = img.Overlay(winpe.OverlayOptions{
		Agent: agent, Config: config, Start: startOf(ct), Prompt: ct.WinPE.Prompt || w.settings(c).Prompt,
	})
	if err != nil {
		b.wim = nil
		return fmt.Errorf("WIM for %s: %w", c, err)
	}
	return nil
}

func (w *Chain) openStored(name string, ct *content.Content, c boot.Client) (*source.File, error) {
	obj, _ := ct.File(content.RoleImage)
	return source.OpenObject(w.cfg.Library, name, ct, obj, c)
}

// agent is the agent for an architecture, nil when there is none.
func (w *Chain) agent(arch string) *winpe.Agent {
	if w.cfg.Agent == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a, ok := w.agents[arch]; ok {
		return a
	}
	r, size, err := w.cfg.Agent(arch)
	if err == nil && r == nil {
		err = errors.New("it has no bytes")
	}
	sum := sha1.New() //nolint:gosec // see the import
	if err == nil {
		_, err = io.Copy(sum, io.NewSectionReader(r, 0, size))
	}
	if err != nil {
		w.log.Error("no agent for boot images", zap.String("arch", arch), zap.Error(err))
		return nil
	}
	a := &winpe.Agent{Content: r, Size: size, Hash: wim.Hash(sum.Sum(nil))}
	w.agents[arch] = a
	return a
}
