package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func generate() ([]byte, crypto.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := Serial()
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: serial, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	return der, key, err
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tls", "a.pem")
	refused := errors.New("no randomness")
	if _, err := Load(path, "", func() ([]byte, crypto.PrivateKey, error) { return nil, nil, refused }); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	made, err := Load(path, "", generate)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", file, info.Mode(), err, want)
		}
	}
	never := func() ([]byte, crypto.PrivateKey, error) {
		t.Error("made again")
		return nil, nil, refused
	}
	again, err := Load(path, "", never)
	if err != nil || !bytes.Equal(again.Certificate[0], made.Certificate[0]) {
		t.Errorf("another certificate, %v", err)
	}

	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{{}, whole[:len(whole)/2], bytes.Replace(whole, []byte("M"), []byte("!"), 3)} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, "machines refuse the new one", never); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "machines refuse the new one") {
			t.Errorf("%d bytes: error %v", len(damaged), err)
		}
		if left, _ := os.ReadFile(path); !bytes.Equal(left, damaged) {
			t.Error("a damaged file was written to")
		}
	}
}
