package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// server is one of the programs measured.
type server struct {
	name  string
	port  string // of HTTP
	start func(ctx context.Context, s *setup, n *lab.Network) (*lab.Process, error)
}

var castpoint = server{"castpoint", "8080", func(ctx context.Context, s *setup, n *lab.Network) (*lab.Process, error) {
	p, err := point.New(n, s.paths["castpoint"])
	if err != nil {
		return nil, err
	}
	err = p.Serve(ctx, nil, "--dhcp", "off", "--loaders", s.root)
	return p.Server, err
}}

var dnsmasq = server{"dnsmasq", "", tftpServer("dnsmasq", func(s *setup) []string {
	return []string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--tftp-root=" + s.root,
		"--tftp-max=1000", "--user=root", "--pid-file=", "--log-facility=/dev/null"}
})}

var atftpd = server{"atftpd", "", tftpServer("atftpd", func(s *setup) []string {
	return []string{"--daemon", "--no-fork", "--user", "root", "--group", "root", "--verbose=3", "--logfile", "/dev/null", s.root}
})}

var tftpdHPA = server{"tftpd-hpa", "", tftpServer("tftpd-hpa", func(s *setup) []string {
	return []string{"--foreground", "--address", lab.ServerAddr.String() + ":69", "--user", "root", "--secure", s.root}
})}

// tftpServer starts a program that is ready when it has port 69.
func tftpServer(name string, args func(*setup) []string) func(context.Context, *setup, *lab.Network) (*lab.Process, error) {
	return func(ctx context.Context, s *setup, n *lab.Network) (*lab.Process, error) {
		if _, err := os.Stat(s.paths[name]); err != nil {
			return nil, fmt.Errorf("%w: run test/install-tools bench, or give the path of %s by -%s", err, name, name)
		}
		p, err := n.Server.Start(lab.Command{Args: append([]string{s.paths[name]}, args(s)...)})
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := p.WaitUDP(ctx, 69); err != nil {
			p.Kill()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return p, nil
	}
}

// nginxConf is what its documentation recommends for large files.
const nginxConf = `worker_processes auto;
daemon off;
error_log stderr warn;
pid %[1]s/nginx.pid;
user root;
events { worker_connections 4096; }
http {
	sendfile on; tcp_nopush on; tcp_nodelay on; access_log off; keepalive_requests 100000;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen 80; root %[2]s; }
}
`

var nginx = server{"nginx", "80", func(ctx context.Context, s *setup, n *lab.Network) (*lab.Process, error) {
	if _, err := os.Stat(s.paths["nginx"]); err != nil {
		return nil, fmt.Errorf("%w: run test/install-tools bench, or give the path of nginx by -nginx", err)
	}
	conf := filepath.Join(n.Dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, n.Dir, s.root), 0o644); err != nil {
		return nil, err
	}
	p, err := n.Server.Start(lab.Command{Args: []string{s.paths["nginx"], "-e", "stderr", "-c", conf}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.WaitTCP(ctx, 80); err != nil {
		_, _ = p.Stop()
		return nil, fmt.Errorf("nginx: %w", err)
	}
	return p, nil
}}

// cpuTime is the processor time, user and system, that a process and its
// children have used, those that have ended included. The kernel tells it in
// hundredths of a second (proc(5), /proc/PID/stat).
func cpuTime(pid int) (time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	var ticks uint64
	found := false
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may hold spaces; what follows are fields 3 on.
		i := strings.LastIndexByte(string(b), ')')
		f := strings.Fields(string(b[i+1:]))
		if len(f) < 15 || id != pid && f[1] != strconv.Itoa(pid) {
			continue
		}
		last := 13 // utime, stime
		if id == pid {
			found = true
			last = 15 // and those of children that were waited for
		}
		for _, v := range f[11:last] {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	if !found {
		return 0, errors.New("the server has ended")
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
