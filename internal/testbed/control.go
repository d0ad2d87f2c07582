package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/internal/lab"
)

// The control socket is HTTP on a unix socket in a folder that root only can enter.
const (
	controlFolder = "control"
	controlSocket = "socket"
)

// controlLimit is how long one request may take.
const controlLimit = 30 * time.Second

// Status is what a lab says of itself.
type Status struct {
	Pid         int             `json:"pid"`
	Started     time.Time       `json:"started"`
	Ready       bool            `json:"ready"` // all machines have been switched on
	Dir         string          `json:"dir"`   // goes with the lab
	Server      ServerStatus    `json:"server"`
	Accelerator string          `json:"accelerator"` // kvm or tcg
	Hosts       []string        `json:"hosts"`       // for castpoint lab exec
	Machines    []MachineStatus `json:"machines"`

	Namespaces map[string]string `json:"namespaces"` // of the hosts
}

// ServerStatus is the server of a lab.
type ServerStatus struct {
	Address  string `json:"address"`
	Data     string `json:"data"`
	Console  string `json:"console"` // URL
	User     string `json:"user"`
	Password string `json:"password"`
	Log      string `json:"log"` // its last lines
}

// MachineStatus is a machine of a lab.
type MachineStatus struct {
	Number   int       `json:"number"`
	Name     string    `json:"name"`
	Firmware string    `json:"firmware"`
	MAC      string    `json:"mac"`
	UUID     string    `json:"uuid"`
	On       bool      `json:"on"`
	Pid      int       `json:"pid,omitempty"` // of QEMU
	Stage    string    `json:"stage"`
	Since    time.Time `json:"since"` // of the stage
	Disk     string    `json:"disk"`
	Line     string    `json:"line"` // the last of its screen
}

// Status is how the lab is now.
func (b *Bed) Status() Status {
	s := Status{Pid: os.Getpid(), Started: b.started, Dir: b.network.Dir, Namespaces: b.hosts,
		Server: ServerStatus{Address: b.network.Server.Addr.String(), Data: b.options.Data, User: User, Password: b.options.Password}}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Ready = b.ready
	s.Accelerator, _, _ = strings.Cut(b.accel, ",")
	for name := range b.hosts {
		s.Hosts = append(s.Hosts, name)
	}
	slices.Sort(s.Hosts)
	if b.door != nil {
		s.Server.Console = "http://" + b.door.Addr().String()
	}
	if b.server != nil {
		s.Server.Log = b.server.Output.Tail(5)
	}
	s.Machines = []MachineStatus{}
	for _, m := range b.machines {
		s.Machines = append(s.Machines, m.status())
	}
	return s
}

func (m *Machine) status() MachineStatus {
	vm := m.now()
	s := MachineStatus{Number: m.Number, Name: m.Name, Firmware: m.Kind, MAC: vm.MAC, UUID: vm.UUID, Disk: m.Disk, On: m.on()}
	s.Stage, s.Since = m.progress.Stage()
	if s.On {
		s.Pid = vm.Pid()
	}
	lines := m.screen.Lines()
	s.Line = lines[len(lines)-1]
	return s
}

// listen opens the control socket. From then on the lab is one that List finds.
func (b *Bed) listen() error {
	dir := filepath.Join(b.network.Dir, controlFolder)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, controlSocket))
	if err != nil {
		return fmt.Errorf("the lab's control socket: %w", err)
	}
	s := &http.Server{Handler: b.routes(), ReadTimeout: controlLimit, WriteTimeout: controlLimit}
	b.control = s
	b.answering = make(chan struct{})
	go func() {
		defer close(b.answering)
		_ = s.Serve(l) // until it is closed
	}()
	return nil
}

// refusal is an answer that is none.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

func (b *Bed) routes() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r)
			if err != nil {
				code := http.StatusInternalServerError
				if re, ok := errors.AsType[*refusal](err); ok {
					code = re.code
				}
				w.WriteHeader(code)
				v = map[string]string{"error": err.Error()}
			}
			_ = json.NewEncoder(w).Encode(v) // who asked has gone away
		})
	}
	machine := func(pattern string, f func(m *Machine, r *http.Request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		answer(method+" /machines/{machine}"+path, func(r *http.Request) (any, error) {
			m, err := b.find(r.PathValue("machine"))
			if err != nil {
				return nil, err
			}
			return f(m, r)
		})
	}
	answer("GET /status", func(*http.Request) (any, error) { return b.Status(), nil })
	machine("GET /screen", func(m *Machine, _ *http.Request) (any, error) { return m.screen.Lines(), nil })
	machine("POST /keys", func(m *Machine, r *http.Request) (any, error) {
		var keys []string
		if err := json.NewDecoder(r.Body).Decode(&keys); err != nil {
			return nil, &refusal{http.StatusBadRequest, err.Error()}
		}
		if err := m.mustBeOn(); err != nil {
			return nil, err
		}
		for _, key := range keys {
			if err := m.now().Press(keyName(key)); err != nil {
				return nil, &refusal{http.StatusBadRequest, err.Error()}
			}
		}
		return m.status(), nil
	})
	machine("POST /type", func(m *Machine, r *http.Request) (any, error) {
		var text string
		if err := json.NewDecoder(r.Body).Decode(&text); err != nil {
			return nil, &refusal{http.StatusBadRequest, err.Error()}
		}
		if err := m.mustBeOn(); err != nil {
			return nil, err
		}
		_, err := io.WriteString(m.now().Input, text)
		return m.status(), err
	})
	machine("POST /reboot", func(m *Machine, _ *http.Request) (any, error) { return b.reboot(m) })
	machine("POST /off", func(m *Machine, _ *http.Request) (any, error) {
		if err := m.mustBeOn(); err != nil {
			return nil, err
		}
		m.now().Kill()
		return m.status(), nil
	})
	return mux
}

func (m *Machine) mustBeOn() error {
	if !m.on() {
		return &refusal{http.StatusConflict, fmt.Sprintf("machine %s is off: castpoint lab reboot %s switches it on", m.Name, m.Name)}
	}
	return nil
}

// reboot presses the button of a machine, or switches it on.
func (b *Bed) reboot(m *Machine) (any, error) {
	m.mu.Lock()
	select {
	case <-m.vm.Done():
		m.screen.clear()
		m.progress.restart()
		vm, err := b.network.PowerOn(m.vm)
		if err == nil {
			m.vm = vm
		}
		m.mu.Unlock()
		if err != nil {
			return nil, err
		}
	default:
		vm := m.vm
		m.mu.Unlock()
		if err := vm.Reset(); err != nil {
			return nil, err
		}
		m.progress.restart()
	}
	return m.status(), nil
}

// keyName is QEMU's name of a key that people have another name for.
func keyName(key string) string {
	parts := strings.Split(strings.ToLower(key), "-")
	for i, part := range parts {
		if name, ok := map[string]string{"enter": "ret", "return": "ret", "escape": "esc", "space": "spc", "del": "delete", "ins": "insert",
			"pageup": "pgup", "pagedown": "pgdn", "bksp": "backspace"}[part]; ok {
			parts[i] = name
		}
	}
	return strings.Join(parts, "-")
}

// find is the machine of that number or name.
func (b *Bed) find(word string) (*Machine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, m := range b.machines {
		if m.Name == word || strconv.Itoa(m.Number) == word {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, &refusal{http.StatusNotFound, fmt.Sprintf("there is no machine %q: this lab has %s", word, strings.Join(names, ", "))}
}

// ErrNone is that no lab runs.
var ErrNone = errors.New("no lab is running: castpoint lab up starts one")

// ErrNotFound is that a lab has no such machine or host, and ErrRefused that it cannot
// do that now.
var (
	ErrNotFound = errors.New("not found")
	ErrRefused  = errors.New("refused")
)

// IsBed says whether a lab is one that Start has made: tests make labs as well.
func IsBed(r lab.Running) bool {
	if _, err := os.Stat(filepath.Join(r.Dir, controlFolder)); err == nil {
		return true
	}
	// It may have begun just now.
	return len(r.Args) > 2 && r.Args[1] == "lab" && slices.Contains(r.Args[2:], "up")
}

// Running is the lab of this host that Start has made, nil for none.
func Running() (*lab.Running, error) {
	all, _, err := lab.List()
	for _, r := range all {
		if err == nil && r.Pid != os.Getpid() && IsBed(r) {
			return &r, nil
		}
	}
	return nil, err
}

// Client asks a running lab.
type Client struct{ http http.Client }

// Dial finds the running lab. The error is ErrNone when there is none.
func Dial() (*Client, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("labs are made and seen by root")
	}
	r, err := Running()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrNone
	}
	path := filepath.Join(r.Dir, controlFolder, controlSocket)
	return &Client{http.Client{Timeout: controlLimit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// call sends in, unless it is nil, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, body)
	if err != nil {
		return err
	}
	a, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("the lab does not answer: %w; castpoint lab down removes it", err)
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusOK {
		return json.NewDecoder(a.Body).Decode(out)
	}
	var said struct{ Error string }
	if err := json.NewDecoder(a.Body).Decode(&said); err != nil || said.Error == "" {
		said.Error = "the lab answers " + a.Status
	}
	switch a.StatusCode {
	case http.StatusNotFound:
		return &kinded{ErrNotFound, said.Error}
	case http.StatusConflict, http.StatusBadRequest:
		return &kinded{ErrRefused, said.Error}
	}
	return errors.New(said.Error)
}

// kinded is an error whose kind is not in its text.
type kinded struct {
	kind error
	text string
}

func (k *kinded) Error() string { return k.text }
func (k *kinded) Unwrap() error { return k.kind }

// Status asks how the lab is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

// Screen asks for the lines of a machine's screen.
func (c *Client) Screen(ctx context.Context, machine string) (lines []string, err error) {
	return lines, c.call(ctx, http.MethodGet, "/machines/"+url.PathEscape(machine)+"/screen", nil, &lines)
}

// Press presses keys of a machine's keyboard.
func (c *Client) Press(ctx context.Context, machine string, keys []string) (s MachineStatus, err error) {
	return s, c.call(ctx, http.MethodPost, "/machines/"+url.PathEscape(machine)+"/keys", keys, &s)
}

// Type writes at a machine's serial console.
func (c *Client) Type(ctx context.Context, machine, text string) (s MachineStatus, err error) {
	return s, c.call(ctx, http.MethodPost, "/machines/"+url.PathEscape(machine)+"/type", text, &s)
}

// Reboot presses a machine's button, or switches it on.
func (c *Client) Reboot(ctx context.Context, machine string) (s MachineStatus, err error) {
	return s, c.call(ctx, http.MethodPost, "/machines/"+url.PathEscape(machine)+"/reboot", nil, &s)
}

// Off takes a machine's power away.
func (c *Client) Off(ctx context.Context, machine string) (s MachineStatus, err error) {
	return s, c.call(ctx, http.MethodPost, "/machines/"+url.PathEscape(machine)+"/off", nil, &s)
}
