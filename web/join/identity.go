package join

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"path/filepath"
	"time"

	"castpoint/agent/protocol"
	"castpoint/internal/keyfile"
)

// Identity is the certificate of the join listener. Machines trust it by its
// pin alone, so neither its names nor its dates matter to them.
type Identity struct {
	Certificate tls.Certificate
	Pin         protocol.Pin
}

const identityFile = "join.pem"

// identityYears is how long a new certificate is valid. It is bound by hash:
// an earlier end would only break machines.
const identityYears = 30

// LoadIdentity reads the identity out of the folder, or makes one there (mode
// 0600) when there is none. A damaged one is an error, never replaced: machines
// that have its pin would refuse the new one.
func LoadIdentity(dir string) (*Identity, error) {
	cert, err := keyfile.Load(filepath.Join(dir, identityFile), "machines then need the new pin",
		func() ([]byte, crypto.PrivateKey, error) { return newIdentity(time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("join certificate: %w", err)
	}
	return &Identity{Certificate: cert, Pin: protocol.NewPin(cert.Certificate[0])}, nil
}

// TLS is the listener's configuration: TLS 1.3 only.
func (id *Identity) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.Certificate},
		NextProtos:   []string{"http/1.1"},
	}
}

func newIdentity(now time.Time) (der []byte, _ crypto.PrivateKey, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := keyfile.Serial()
	if err != nil {
		return nil, nil, err
	}
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "castpoint"},
		DNSNames:              []string{"castpoint"},
		NotBefore:             now.Add(-24 * time.Hour), // machines without a clock battery
		NotAfter:              now.AddDate(identityYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "castpoint"}}, &key.PublicKey, key)
	return der, key, err
}
