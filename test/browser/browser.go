// Package browser drives Debian's Chromium for tests of the console, and collects
// what a person would never see: errors in its console, requests that fail, and
// requests to other hosts.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Programs that are Chromium, by the names that distributions give it.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// Browser is one page in a browser of its own.
type Browser struct {
	ctx   context.Context
	close []context.CancelFunc
	host  string // that it may ask, with the port

	mu       sync.Mutex
	trouble  []string
	requests map[network.RequestID]string
	streams  map[network.RequestID]bool // live pages; they end when one leaves them
}

// Find finds the program.
func Find() (string, error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium here: run test/install-tools")
}

// Open starts a browser that may go to one address, as in http://127.0.0.1:8069.
// path is the program, or one that starts it in its own place. Close it.
func Open(ctx context.Context, path, address string) (*Browser, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	b := &Browser{host: u.Host, requests: make(map[network.RequestID]string), streams: make(map[network.RequestID]bool)}
	// Root, as whom tests with namespaces run, has no sandbox.
	allocator, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)...)
	tab, closeTab := chromedp.NewContext(allocator)
	b.ctx, b.close = tab, []context.CancelFunc{closeTab, stop}
	if err = chromedp.Listen(tab, b.listen); err == nil {
		_, err = chromedp.Call(tab, log.Enable, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(tab, network.Enable, network.EnableParams{})
	}
	if err == nil {
		_, err = chromedp.Call(tab, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return b, nil
}

// Close ends the browser.
func (b *Browser) Close() {
	for _, end := range b.close {
		end()
	}
}

func (b *Browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	note := func(format string, args ...any) { b.trouble = append(b.trouble, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		note("exception: %v", e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			note("console: %s %s", e.Type, e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			note("log: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		b.requests[e.RequestID] = e.Request.URL
		b.streams[e.RequestID] = e.Type == network.ResourceTypeEventSource
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.host && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "ws") {
			note("a request to another host: %s", e.Request.URL)
		}
	case *network.EventLoadingFailed:
		if !e.Canceled && !b.streams[e.RequestID] {
			note("request for %s failed: %s", b.requests[e.RequestID], e.ErrorText)
		}
	}
}

// Trouble is what has gone wrong since it was asked last.
func (b *Browser) Trouble() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.trouble
	b.trouble = nil
	return list
}

// Spent is the processor time that the page has cost since it was opened: drawing,
// layout and scripts. Other work of the machine does not count.
func (b *Browser) Spent() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	got, err := chromedp.Call(ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		return 0, fmt.Errorf("processor time of the page: %w", err)
	}
	for _, m := range got.Metrics {
		if m.Name == "TaskDuration" {
			return time.Duration(m.Value * float64(time.Second)), nil
		}
	}
	return 0, errors.New("processor time of the page: the browser does not tell it")
}

// limit bounds what is done in a page.
const limit = 30 * time.Second

// Do does things in the page.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

// Key presses a key: a character, or the name of one, as in Tab.
func (b *Browser) Key(key string) error {
	if named, ok := map[string]string{"Tab": kb.Tab, "Enter": kb.Enter, "Escape": kb.Escape}[key]; ok {
		key = named
	}
	return b.Do(chromedp.KeyEvent(key))
}

// WithoutScript switches the scripts of pages off, for all that are loaded from now on.
func (b *Browser) WithoutScript() error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return err
}

// Go loads a page.
func (b *Browser) Go(address string) error { return b.Do(chromedp.Navigate(address)) }

// Eval gives the value of an expression of JavaScript.
func Eval[T any](b *Browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// Text is what the page says.
func (b *Browser) Text() (text string) {
	text, err := Eval[string](b, "document.body.innerText")
	if err != nil {
		return err.Error()
	}
	return text
}

// WaitText waits until the page says what is matched by a regular expression of
// JavaScript. It is not loaded again: what it waits for has to appear by itself.
func (b *Browser) WaitText(limit time.Duration, pattern string) error {
	quoted, err := json.Marshal(pattern)
	if err == nil {
		err = b.Wait(limit, "new RegExp("+string(quoted)+").test(document.body.innerText)")
	}
	if err != nil {
		return fmt.Errorf("%q never came: %w; the page says:\n%s", pattern, err, b.Text())
	}
	return nil
}

// Wait waits until an expression of JavaScript is true, on whatever page the
// browser is by then.
func (b *Browser) Wait(limit time.Duration, expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// An error: the page is just being replaced.
		if yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("document.body !== null && "+expression)); err == nil && yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Screens.
const (
	Desktop = "desktop"
	Phone   = "phone"
	Dark    = "dark" // a desktop
)

// Shoot keeps a picture of the whole page as NAME-SCREEN.png in a folder, one for
// each screen that is named.
func (b *Browser) Shoot(dir, name string, screens ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, screen := range screens {
		picture, err := b.picture(screen)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+"-"+screen+".png"), picture, 0o644)
		}
		if err != nil {
			return fmt.Errorf("picture %s of %s: %w", screen, name, err)
		}
	}
	return nil
}

// picture makes the page what a screen shows, and takes a picture of all of it.
func (b *Browser) picture(screen string) ([]byte, error) {
	if err := b.Screen(screen); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.FullScreenshot(100))
}

// Screen makes this page and those that follow what a screen shows.
func (b *Browser) Screen(screen string) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	metrics := emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 900, DeviceScaleFactor: 1}
	theme := "light"
	switch screen {
	case Phone:
		metrics = emulation.SetDeviceMetricsOverrideParams{Width: PhoneWidth, Height: 780, DeviceScaleFactor: 2, Mobile: true}
	case Dark:
		theme = "dark"
	}
	if _, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, metrics); err != nil {
		return err
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media)
	return err
}

// PhoneWidth is how wide the page is on a phone, in pixels of CSS.
const PhoneWidth = 360
