// Package keyfile keeps a certificate and its key in one PEM file, so that a crash cannot
// leave one without the other. What machines trust is in it: it is made once, and a
// damaged one is an error and never replaced.
package keyfile

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"castpoint/internal/atomicfile"
)

// Load reads the file, and has generate make a certificate (DER) and its key for it when
// there is none; the file then has mode 0600, and its folder 0700. The error of a damaged
// file says what to do, and what whoever removes it must expect: consequence.
func Load(path, consequence string, generate func() ([]byte, crypto.PrivateKey, error)) (tls.Certificate, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = create(path, generate)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return pair, fmt.Errorf("%s: %w; restore the file, or remove it to have a new one made (%s)", path, err, consequence)
	}
	return pair, nil
}

func create(path string, generate func() ([]byte, crypto.PrivateKey, error)) ([]byte, error) {
	der, key, err := generate()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	var out bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := pem.Encode(&out, block); err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return out.Bytes(), atomicfile.Write(path, out.Bytes())
}

// Serial is a random serial number of 127 bits that never has a leading zero byte.
func Serial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 126, 1), nil
}
