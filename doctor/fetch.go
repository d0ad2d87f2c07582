package doctor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

// What firmware asks for: the block size of the Windows boot manager, which fits
// into every Ethernet packet, and the size before the data.
const firmwareBlock = 1456

// fetchLimit is how long one file may take: the largest loaders have 3 MB.
const fetchLimit = 30 * time.Second

// fetched is a file that arrived.
type fetched struct {
	size int64
	sum  [sha256.Size]byte
	took time.Duration
}

func (f fetched) rate() string {
	return fmt.Sprintf("%.1f MB/s", float64(f.size)/1e6/max(f.took.Seconds(), 1e-6))
}

// errAbsent is a file that the server does not have.
var errAbsent = errors.New("no such file")

func fetch(ctx context.Context, t *Target) []Finding {
	if !t.TFTP.IsValid() && t.HTTP == "" {
		return nil
	}
	var all []Finding
	got := 0
	left := *t // a server that does not answer is asked once
	for _, name := range t.Files {
		f, ok := fetchBoth(ctx, &left, name)
		if ok {
			got++
		}
		all = append(all, f...)
	}
	if got == 0 && len(all) == 0 {
		all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("none of %d boot files arrived", len(t.Files)),
			Do: "is a server running there, and with --loaders that have files?"})
	}
	return all
}

// fetchBoth fetches a file by both ways; ok when at least one brought it.
func fetchBoth(ctx context.Context, t *Target, name string) (all []Finding, ok bool) {
	var byTFTP, byHTTP fetched
	var errTFTP, errHTTP error
	withTFTP, withHTTP := t.TFTP.IsValid(), t.HTTP != ""
	if withTFTP {
		byTFTP, errTFTP = overTFTP(t.TFTP.String(), name)
		if silent(errTFTP) {
			t.TFTP = netip.AddrPort{}
		}
	}
	if withHTTP {
		byHTTP, errHTTP = overHTTP(ctx, t.HTTP, name)
		if errHTTP != nil && !errors.Is(errHTTP, errAbsent) {
			t.HTTP = ""
		}
	}
	if t.Try && (!withTFTP || errors.Is(errTFTP, errAbsent)) && (!withHTTP || errors.Is(errHTTP, errAbsent)) {
		return nil, false
	}
	if t.Try && silent(errTFTP) && errors.Is(errHTTP, errAbsent) {
		errHTTP = nil
	}
	if errTFTP != nil {
		all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s does not arrive by TFTP: %v", name, errTFTP), Do: whyTFTP(errTFTP)})
	}
	if errHTTP != nil {
		all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s does not arrive by HTTP: %v", name, errHTTP), Do: "is the boot listener's port open, and is it this server's?"})
	}
	if withTFTP && withHTTP && errTFTP == nil && errHTTP == nil && byTFTP.sum != byHTTP.sum {
		all = append(all, Finding{Level: Attention, Text: fmt.Sprintf("%s differs: %d bytes by TFTP, %d by HTTP", name, byTFTP.size, byHTTP.size),
			Do: "two servers answer at this address: see what holds the ports"})
	}
	if len(all) > 0 {
		return all, errTFTP == nil || errHTTP == nil
	}
	var how []string
	if withTFTP {
		how = append(how, "TFTP at "+byTFTP.rate())
		ok = true
	}
	if withHTTP {
		how = append(how, "HTTP at "+byHTTP.rate())
		ok = true
	}
	size := max(byTFTP.size, byHTTP.size)
	return []Finding{{Level: OK, Text: fmt.Sprintf("%s, %d bytes, by %s", name, size, strings.Join(how, " and "))}}, ok
}

// silent tells whether the server did not answer.
func silent(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func whyTFTP(err error) string {
	if silent(err) {
		return "nobody answers, or only the first packet passes: look for a firewall that drops UDP port 69 or the ports of the transfers (tftp-ports, tftp-single-port)"
	}
	return "castpoint serve --log-level debug says what was asked for"
}

// counter takes a file and gives up when it takes too long.
type counter struct {
	hash.Hash
	n     int64
	until time.Time
}

func (c *counter) Write(b []byte) (int, error) {
	if time.Now().After(c.until) {
		return 0, fmt.Errorf("only %d bytes in %s", c.n, fetchLimit)
	}
	c.n += int64(len(b))
	return c.Hash.Write(b)
}

func (c *counter) fetched(began time.Time) fetched {
	return fetched{c.n, [sha256.Size]byte(c.Sum(nil)), time.Since(began)}
}

func overTFTP(server, name string) (fetched, error) {
	c, err := tftp.NewClient(server)
	if err != nil {
		return fetched{}, err
	}
	c.SetBlockSize(firmwareBlock)
	c.SetTimeout(time.Second)
	c.SetRetries(3)
	c.RequestTSize(true)
	began := time.Now()
	w, err := c.Receive(name, "octet")
	if err != nil {
		if strings.Contains(err.Error(), "code: 1,") || strings.Contains(err.Error(), "code=1,") {
			return fetched{}, fmt.Errorf("%w: %w", errAbsent, err)
		}
		return fetched{}, err
	}
	told, hasSize := int64(-1), false
	if in, ok := w.(tftp.IncomingTransfer); ok {
		told, hasSize = in.Size()
	}
	to := &counter{Hash: sha256.New(), until: began.Add(fetchLimit)}
	if _, err := w.WriteTo(to); err != nil {
		return fetched{}, err
	}
	if hasSize && told != to.n {
		return fetched{}, fmt.Errorf("%d bytes arrived, the server had said %d", to.n, told)
	}
	return to.fetched(began), nil
}

func overHTTP(ctx context.Context, base, name string) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/"+strings.TrimPrefix(name, "/"), nil)
	if err != nil {
		return fetched{}, err
	}
	began := time.Now()
	// Firmware knows neither proxies nor redirects.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.Do(r)
	if err != nil {
		return fetched{}, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(a.Body, 200))
		err := fmt.Errorf("status %d: %s", a.StatusCode, strings.TrimSpace(string(text)))
		if a.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", errAbsent, err)
		}
		return fetched{}, err
	}
	to := &counter{Hash: sha256.New(), until: began.Add(fetchLimit)}
	if _, err := io.Copy(to, a.Body); err != nil {
		return fetched{}, err
	}
	if a.ContentLength != to.n {
		return fetched{}, fmt.Errorf("%d bytes arrived, Content-Length was %d", to.n, a.ContentLength)
	}
	return to.fetched(began), nil
}
