package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/web/api"
)

// agentPrefix is how the agent's programs are called: castagent-linux-amd64,
// castagent-windows-arm64.exe.
const agentPrefix = "castagent-"

// program is one of the agent's programs.
type program struct {
	path string // in Config.Agents
	file protocol.File
}

// readAgents hashes the agent's programs, by SYSTEM-ARCHITECTURE. A server that was
// built without them has none.
func readAgents(folder fs.FS) (map[string]program, error) {
	all := make(map[string]program)
	if folder == nil {
		return all, nil
	}
	names, err := fs.Glob(folder, agentPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("list the agent's programs: %w", err)
	}
	for _, name := range names {
		one := program{path: name}
		one.file.Name = strings.TrimSuffix(strings.TrimPrefix(name, agentPrefix), ".exe")
		if one.file.Size, one.file.SHA256, err = hashFile(folder, name); err != nil {
			return nil, fmt.Errorf("read the agent's programs: %w", err)
		}
		all[one.file.Name] = one
	}
	return all, nil
}

func hashFile(folder fs.FS, name string) (size int64, digest string, err error) {
	f, err := folder.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// agentsFor are the programs for machines of an architecture.
func (d *Delivery) agentsFor(arch string) (list []protocol.File, err error) {
	agents, err := d.agents()
	for _, system := range []string{"linux", "windows"} {
		if p, ok := agents[system+"-"+arch]; ok {
			list = append(list, p.file)
		}
	}
	return list, err
}

// agent gives a machine that runs a sequence the agent's program for the system on
// its disk.
func (d *Delivery) agent(w http.ResponseWriter, r *http.Request) error {
	run, err := d.run(r)
	if err == nil {
		err = d.stillMay(&run)
	}
	if err != nil {
		return err
	}
	agents, err := d.agents()
	if err != nil {
		return err
	}
	p, ok := agents[r.PathValue("name")]
	if !ok {
		return api.Refusal(http.StatusNotFound, protocol.CodeNotFound, "build castpoint with make build, which puts the agents into it",
			"this server has no agent for %.64q", r.PathValue("name"))
	}
	f, err := d.cfg.Agents.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	content, ok := f.(io.ReadSeeker)
	if !ok {
		return errors.New("the agent's programs cannot be read in parts")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}
