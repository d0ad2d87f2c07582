package host

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Holders names the processes of this network namespace that listen on a port,
// as "dnsmasq (process 712)", as far as this user may see them. network is udp
// or tcp.
func Holders(network string, port uint16) []string {
	inodes := map[string]bool{}
	for _, suffix := range []string{"", "6"} {
		text, err := os.ReadFile("/proc/net/" + network + suffix)
		if err != nil {
			continue
		}
		for _, i := range listeningInodes(string(text), network, port) {
			inodes["socket:["+i+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return nil
	}
	var names []string
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !inodes[to] {
			continue // gone, or not for our eyes
		}
		pid := strings.Split(fd, "/")[2]
		name := "process " + pid
		if comm, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
			name = fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// stateListen is TCP_LISTEN in /proc/net/tcp.
const stateListen = "0A"

// listeningInodes finds the sockets bound to a port in the text of /proc/net/udp
// or /proc/net/tcp.
func listeningInodes(text, network string, port uint16) []string {
	var found []string
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		_, local, ok := strings.Cut(f[1], ":")
		b, err := hex.DecodeString(local)
		if !ok || err != nil || len(b) != 2 || uint16(b[0])<<8|uint16(b[1]) != port {
			continue
		}
		if network == "tcp" && f[3] != stateListen {
			continue
		}
		if _, err := strconv.ParseUint(f[9], 10, 64); err == nil && f[9] != "0" {
			found = append(found, f[9])
		}
	}
	return found
}
