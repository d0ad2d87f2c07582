package winpe

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// signed signs a program with osslsigncode, a program that castpoint has no part
// in, by a CA of that name.
func signed(t *testing.T, data []byte, ca string, end time.Time) []byte {
	t.Helper()
	tool, err := exec.LookPath("osslsigncode")
	if err != nil {
		t.Fatal("install osslsigncode: ", err)
	}
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) string {
		var b bytes.Buffer
		for _, block := range blocks {
			if err := pem.Encode(&b, block); err != nil {
				t.Fatal(err)
			}
		}
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	key := func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	caCert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: ca}, NotBefore: begin, NotAfter: begin.AddDate(30, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Test Windows"}, NotBefore: begin, NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caCert, caCert, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, caCert, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	certs := write("certs", &pem.Block{Type: "CERTIFICATE", Bytes: leafDER}, &pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := write("key", &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	in, out := filepath.Join(dir, "in.efi"), filepath.Join(dir, "out.efi")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), tool, "sign", "-h", "sha256", "-certs", certs, "-key", keyFile, "-in", in, "-out", out).CombinedOutput()
	if err != nil {
		t.Fatalf("osslsigncode: %v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// realProgram is an EFI program as linkers make them.
func realProgram(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("/usr/lib/ipxe/snponly.efi")
	if err != nil {
		t.Fatal("install ipxe: ", err)
	}
	return b
}

func TestSigners(t *testing.T) {
	end := time.Date(2021, 3, 3, 18, 30, 38, 0, time.UTC)
	for ca, year := range map[string]int{
		"Microsoft Windows Production PCA 2011": 2011,
		"Windows UEFI CA 2023":                  2023,
		"Somebody's CA":                         0,
	} {
		b := signed(t, realProgram(t), ca, end)
		list, err := ReadSigners(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", ca, list, err)
		}
		s := list[0]
		if s.CA != ca || s.Year != year || s.Subject != "Test Windows" || !s.NotAfter.Equal(end) || s.Problem != "" {
			t.Errorf("%s: %+v", ca, s)
		}
		if s.Expired(end) || !s.Expired(end.Add(time.Second)) {
			t.Error("it ends at another time")
		}

		// A byte of the program, of the signed hash, and of the signature.
		for _, at := range []int{len(b) / 3, 4096} {
			bad := bytes.Clone(b)
			bad[at] ^= 1
			list, err := ReadSigners(bytes.NewReader(bad), int64(len(bad)))
			if err != nil || len(list) != 1 || list[0].Problem == "" {
				t.Errorf("changed at %d: %+v, %v", at, list, err)
			}
		}
	}
}

// Whatever is changed in the certificate table, it is an error or a problem:
// never a signer that fits, unless nothing that counts has changed.
func TestSignersDamaged(t *testing.T) {
	b := signed(t, realProgram(t), "Windows UEFI CA 2023", time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	p, err := readPE(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for at := p.certs; at < p.certs+p.certSize; at += 7 {
		bad := bytes.Clone(b)
		bad[at] ^= 0x10
		list, err := ReadSigners(bytes.NewReader(bad), int64(len(bad)))
		if err == nil && len(list) == 1 && list[0].Problem == "" {
			good++ // versions, padding, the CA's own certificate
		}
	}
	if total := int(p.certSize / 7); good > total/2 {
		t.Errorf("%d of %d changes were not noticed", good, total)
	}
	for n := int64(0); n < p.certs+p.certSize; n += 997 {
		if list, err := ReadSigners(bytes.NewReader(b[:n]), n); err == nil {
			t.Errorf("cut to %d bytes: %+v", n, list)
		}
	}
}

func TestUnsigned(t *testing.T) {
	b := program(peX64, "")
	if _, err := ReadSigners(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	b = []byte("a flat program for BIOS")
	if _, err := ReadSigners(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrNotPE) {
		t.Errorf("no PE: %v", err)
	}
}

func FuzzReadSigners(f *testing.F) {
	f.Add(program(peX64, "text"))
	table := program(peARM64, "")
	table[64+24+112+32] = byte(len(table) & 0xff)
	table[64+24+112+33] = byte(len(table) >> 8)
	table[64+24+112+36] = 24
	f.Add(append(table, 24, 0, 0, 0, 0, 2, 2, 0, 0x30, 0x0e, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2, 0xa0, 1, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ReadSigners(bytes.NewReader(b), int64(len(b)))
		if err == nil && len(list) == 0 {
			t.Error("neither a signer nor an error")
		}
		if arch, err := ReadArch(bytes.NewReader(b), int64(len(b))); (arch == "") == (err == nil) {
			t.Errorf("architecture %q, %v", arch, err)
		}
	})
}
