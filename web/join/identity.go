package join

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"castpoint/agent/protocol"
	"castpoint/internal/atomicfile"
)

// Identity is the certificate of the join listener. Machines trust it by its
// pin alone, so neither its names nor its dates matter to them.
type Identity struct {
	Certificate tls.Certificate
	Pin         protocol.Pin
}

// identityFile holds the certificate and the key together, so that a crash
// cannot leave one without the other.
const identityFile = "join.pem"

// identityYears is how long a new certificate is valid. It is bound by hash:
// an earlier end would only break machines.
const identityYears = 30

// LoadIdentity reads the identity out of the folder, or makes one there (mode
// 0600) when there is none. A damaged one is an error, never replaced: machines
// that have its pin would refuse the new one.
func LoadIdentity(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newIdentity(time.Now()); err != nil {
			return nil, fmt.Errorf("make join certificate: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make join certificate: %w", err)
		}
		err = atomicfile.Write(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("join certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("join certificate %s: %w; restore the file, or remove it to have a new one made (machines then need the new pin)", path, err)
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

func newIdentity(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "castpoint"},
		DNSNames:              []string{"castpoint"},
		NotBefore:             now.Add(-24 * time.Hour), // machines without a clock battery
		NotAfter:              now.AddDate(identityYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "castpoint"}}, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := pem.Encode(&out, block); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
