package httpboot

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"castpoint/internal/keyfile"
)

// Authority is castpoint's own certificate authority for HTTPS boot. Firmware
// trusts what was enrolled in its setup, so the certificate is made once, kept,
// and signs a new server certificate at every start: addresses may change
// without anybody going to the machines again.
type Authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

const authorityFile = "boot-ca.pem"

// Dates of the certificates. A machine with a flat clock battery lives in the
// year its firmware was made; the authority is trusted because it was enrolled,
// not because of a date.
const authorityYears = 30

var bootEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// leastNow is before every release of this program: a server whose clock shows less has a
// flat battery, too.
var leastNow = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// LoadAuthority reads the authority out of the folder, or makes one there (mode
// 0600) when there is none. A damaged one is an error, never replaced: machines
// that trust it would refuse the new one.
func LoadAuthority(dir string) (*Authority, error) {
	path := filepath.Join(dir, authorityFile)
	pair, err := keyfile.Load(path, "machines must then enroll the new one", func() ([]byte, crypto.PrivateKey, error) { return newAuthority(time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("boot authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("boot authority %s: not an authority with an RSA key", path)
	}
	return &Authority{cert: pair.Leaf, key: key}, nil
}

// PEM is the certificate to enroll in the machines' firmware (or to give to
// curl --cacert).
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// TLS makes a server certificate for the given names and addresses, signed by
// the authority, and the listener's configuration with it.
func (a *Authority) TLS(hosts ...string) (*tls.Config, error) {
	if len(hosts) == 0 {
		return nil, errors.New("boot certificate: no name and no address given")
	}
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("boot certificate: %w", err)
	}
	serial, err := keyfile.Serial()
	if err != nil {
		return nil, fmt.Errorf("boot certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hosts[0]},
		NotBefore:             a.cert.NotBefore,
		NotAfter:              a.cert.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("boot certificate for %q: %w", hosts, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("boot certificate for %q: %w", hosts, err)
	}
	return bootTLS(tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}), nil
}

// LoadTLS reads a given certificate (PEM, the server's first, then what leads
// to its authority) and its key. Expired ones are refused: no client would take
// them, and firmware does not say why.
func LoadTLS(certFile, keyFile string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("boot certificate %s with key %s: %w", certFile, keyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("boot certificate %s: expired on %s", certFile, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return bootTLS(pair), nil
}

// bootTLS is the configuration of the HTTPS boot listener: TLS 1.2 is what most
// firmware has, and HTTP/1.1 all of it.
func bootTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"http/1.1"},
	}
}

// rsaBits: RSA because every TLS stack in firmware knows it; 2048 because that
// is the least that is taken and the handshake of a slow machine must not last.
const rsaBits = 2048

func newAuthority(now time.Time) (der []byte, _ crypto.PrivateKey, err error) {
	if now.Before(leastNow) {
		now = leastNow
	}
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, nil, err
	}
	serial, err := keyfile.Serial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial number tells two servers' authorities apart in a firmware's list.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("castpoint boot CA %x", serial.Bytes()[:4])},
		NotBefore:             bootEpoch,
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return der, key, err
}
