package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"castpoint/internal/lab"
)

// Settings of the peers: the best found for links of 1 Gbit/s. udpcast's
// defaults are half-duplex and a small receive buffer; uftp has to be told the
// rate, and collects reports faster than its defaults on a LAN.

func runUdpcast(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	var receivers []*lab.Process
	for i, h := range n.Clients {
		p, err := h.Start(lab.Command{Args: []string{"udp-receiver", "--nokbd", "--no-progress", "--interface", "eth0",
			"--file", filepath.Join(dirs[i], filepath.Base(s.source)), "--rcvbuf", "4m"}})
		if err != nil {
			return result{}, err
		}
		receivers = append(receivers, p)
	}
	for _, p := range receivers {
		if err := p.WaitUDP(ctx, 9000); err != nil {
			return result{}, err
		}
	}
	start := time.Now()
	sender, err := n.Server.Start(lab.Command{Args: []string{"udp-sender", "--nokbd", "--no-progress", "--interface", "eth0",
		"--file", s.source, "--min-receivers", fmt.Sprint(len(receivers)),
		"--full-duplex", "--rexmit-hello-interval", "100", "--default-slice-size", "512"}})
	if err != nil {
		return result{}, err
	}
	// A receiver has the file when it has its full size, a little before it ends.
	for i, p := range receivers {
		if err := waitFor(ctx, func() (bool, error) {
			info, err := os.Stat(filepath.Join(dirs[i], filepath.Base(s.source)))
			return err == nil && info.Size() == s.size, nil
		}); err != nil {
			return result{}, fmt.Errorf("%w; receiver: %s; sender: %s", err, p.Output.Tail(5), sender.Output.Tail(5))
		}
	}
	took := time.Since(start)
	for _, p := range append(receivers, sender) {
		if code, err := p.Wait(ctx); err != nil || code != 0 {
			return result{}, fmt.Errorf("udpcast ended with code %d: %w: %s", code, err, p.Output.Tail(5))
		}
	}
	return result{took: took, cpu: sender.CPU()}, nil
}

func runUftp(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	return uftp(ctx, s, n, dirs, nil, nil)
}

func runUftpEncrypted(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	return uftp(ctx, s, n, dirs,
		[]string{"-Y", "aes256-gcm", "-h", "sha256", "-e", "ecdh_rsa", "-K", "2048"}, []string{"-K", "rsa:2048"})
}

func uftp(ctx context.Context, s setup, n *lab.Network, dirs, senderOptions, receiverOptions []string) (result, error) {
	// uftp sends at the rate it is told: a little under that of the link, and
	// lower where packets are lost.
	rate := "900000"
	switch {
	case s.rate == "200mbit":
		rate = "190000"
	case s.loss > 0:
		rate = "800000"
	case s.rate == "":
		rate = "1500000"
	}
	var ids []string
	var receivers []*lab.Process
	for i, h := range n.Clients {
		addr := h.Addr.As4()
		id := fmt.Sprintf("0x%02X%02X%02X%02X", addr[0], addr[1], addr[2], addr[3])
		ids = append(ids, id)
		tmp := filepath.Join(dirs[i], "tmp")
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return result{}, err
		}
		p, err := h.Start(lab.Command{Args: append([]string{"uftpd", "-d", "-q", "-I", "eth0", "-D", dirs[i], "-T", tmp,
			"-U", id, "-B", "4194304"}, receiverOptions...)})
		if err != nil {
			return result{}, err
		}
		defer p.Kill()
		receivers = append(receivers, p)
	}
	for _, p := range receivers {
		if err := p.WaitUDP(ctx, 1044); err != nil {
			return result{}, err
		}
	}
	start := time.Now()
	args := []string{"uftp", "-I", "eth0", "-H", strings.Join(ids, ","), "-R", rate, "-b", "1400", "-B", "4194304", "-r", "0.05:0.01:1"}
	sender, err := n.Server.Start(lab.Command{Args: append(append(args, senderOptions...), s.source)})
	if err != nil {
		return result{}, err
	}
	// uftpd moves a file out of its temporary directory when it is complete.
	for i := range receivers {
		if err := waitFor(ctx, func() (bool, error) {
			_, err := os.Stat(filepath.Join(dirs[i], filepath.Base(s.source)))
			return err == nil, nil
		}); err != nil {
			return result{}, fmt.Errorf("%w; sender: %s", err, sender.Output.Tail(5))
		}
	}
	took := time.Since(start)
	if code, err := sender.Wait(ctx); err != nil || code != 0 {
		return result{}, fmt.Errorf("uftp ended with code %d: %w: %s", code, err, sender.Output.Tail(5))
	}
	return result{took: took, cpu: sender.CPU()}, nil
}

// nginxConf serves one folder the way its documentation recommends for large
// files.
const nginxConf = `worker_processes 2;
daemon off;
error_log stderr warn;
pid %[1]s/nginx.pid;
user root;
events { worker_connections 1024; }
http {
	sendfile on; tcp_nopush on; access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen 80; root %[2]s; }
}
`

// runNginx gives every receiver a stream of its own.
func runNginx(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	conf := filepath.Join(n.Dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, n.Dir, filepath.Dir(s.source)), 0o644); err != nil {
		return result{}, err
	}
	server, err := n.Server.Start(lab.Command{Args: []string{"nginx", "-e", "stderr", "-c", conf}})
	if err != nil {
		return result{}, err
	}
	if err := server.WaitTCP(ctx, 80); err != nil {
		return result{}, fmt.Errorf("nginx: %w", err)
	}
	start := time.Now()
	var receivers []*lab.Process
	for i, h := range n.Clients {
		p, err := h.Start(lab.Command{Args: []string{"curl", "-sS", "--fail", "-o", filepath.Join(dirs[i], filepath.Base(s.source)),
			"http://" + lab.ServerAddr.String() + "/" + filepath.Base(s.source)}})
		if err != nil {
			return result{}, err
		}
		receivers = append(receivers, p)
	}
	for _, p := range receivers {
		if code, err := p.Wait(ctx); err != nil || code != 0 {
			return result{}, errors.Join(fmt.Errorf("curl ended with code %d: %s", code, p.Output.Tail(5)), err)
		}
	}
	r := result{took: time.Since(start)}
	for _, p := range receivers {
		r.receiverCPU += p.CPU() / time.Duration(len(receivers))
	}
	// Its workers are children that the processor time of the first does not count
	// before they have ended.
	if _, err := server.Stop(); err != nil {
		return result{}, err
	}
	r.cpu = server.CPU()
	return r, nil
}

// waitFor polls a condition every 5 ms; that is how exact a time is that ends
// with it.
func waitFor(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("a receiver did not get the file in time")
		case <-tick.C:
		}
	}
}
