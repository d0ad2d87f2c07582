package winpe

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // old loaders are signed so; it is reported, not trusted
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Errors of reading signatures.
var (
	ErrNotPE    = errors.New("not a PE program") // BIOS first stages are not
	ErrUnsigned = errors.New("not signed")
)

// maxCertificates is the longest certificate table that is read, in bytes.
// Microsoft's have ten kilobytes.
const maxCertificates = 1 << 20

// Signer is who signed a loader. It says what is written there and whether it
// fits the file; whether a machine trusts the CA is up to its firmware.
type Signer struct {
	Subject string `json:"subject"` // common name of the certificate
	CA      string `json:"ca"`      // common name of its issuer
	// Year is that of the CA among those that firmware knows for Windows: 2011
	// (Microsoft Windows Production PCA 2011), 2023 (Windows UEFI CA 2023), 0
	// for others.
	Year      int       `json:"year,omitempty"`
	NotBefore time.Time `json:"not_before"`
	// NotAfter is the end of the certificate. Firmware does not look at it: a
	// loader whose certificate has expired boots on.
	NotAfter time.Time `json:"not_after"`
	// Problem is why the signature does not fit the file, "" when it fits.
	Problem string `json:"problem,omitempty"`
}

// Expired reports whether the certificate has ended.
func (s Signer) Expired(now time.Time) bool { return now.After(s.NotAfter) }

// pe is what is needed of a PE header.
type pe struct {
	arch     string
	checksum int64 // offset of the header's checksum
	certDir  int64 // offset of the directory entry of the certificate table; 0 for none
	certs    int64 // offset of the certificate table
	certSize int64
}

// readPE reads the header of a PE program, as Microsoft's "PE Format" has it.
func readPE(r io.ReaderAt, size int64) (*pe, error) {
	at := func(off int64, n int) []byte {
		b := make([]byte, n)
		if off < 0 || off+int64(n) > size {
			return nil
		}
		if got, err := r.ReadAt(b, off); got < n && err != nil {
			return nil
		}
		return b
	}
	dos := at(0, 64)
	if dos == nil || dos[0] != 'M' || dos[1] != 'Z' {
		return nil, ErrNotPE
	}
	head := int64(binary.LittleEndian.Uint32(dos[60:]))
	coff := at(head, 24)
	if coff == nil || string(coff[:4]) != "PE\x00\x00" {
		return nil, ErrNotPE
	}
	p := &pe{checksum: head + 24 + 64}
	switch binary.LittleEndian.Uint16(coff[4:]) {
	case 0x8664:
		p.arch = "amd64"
	case 0xaa64:
		p.arch = "arm64"
	case 0x014c:
		p.arch = "386"
	case 0x01c4, 0x01c2, 0x01c0:
		p.arch = "arm"
	}
	optional := at(head+24, int(binary.LittleEndian.Uint16(coff[20:])))
	if len(optional) < 2 {
		return nil, fmt.Errorf("%w: it ends within the header", ErrNotPE)
	}
	dirs := 96 // of the directories, in the header of 32-bit programs
	switch binary.LittleEndian.Uint16(optional) {
	case 0x10b:
	case 0x20b:
		dirs = 112
	default:
		return nil, fmt.Errorf("%w: unknown kind of optional header", ErrNotPE)
	}
	const security = 4 // number of the certificate table's entry
	if len(optional) < dirs || binary.LittleEndian.Uint32(optional[dirs-4:]) <= security || len(optional) < dirs+8*(security+1) {
		return p, nil
	}
	p.certDir = head + 24 + int64(dirs) + 8*security
	entry := optional[dirs+8*security:]
	p.certs, p.certSize = int64(binary.LittleEndian.Uint32(entry)), int64(binary.LittleEndian.Uint32(entry[4:]))
	return p, nil
}

// ReadArch says which processors a PE program is for: amd64, arm64, 386, arm.
// Errors: ErrNotPE.
func ReadArch(r io.ReaderAt, size int64) (string, error) {
	p, err := readPE(r, size)
	if err != nil {
		return "", err
	}
	if p.arch == "" {
		return "", fmt.Errorf("%w for processors that castpoint knows", ErrNotPE)
	}
	return p.arch, nil
}

// ReadSigners reads the Authenticode signatures of a PE program: the certificate
// of each signer, and whether the signature fits certificate and file.
//
// Errors: ErrNotPE; ErrUnsigned; others for a table that cannot be read.
func ReadSigners(r io.ReaderAt, size int64) ([]Signer, error) {
	p, err := readPE(r, size)
	if err != nil {
		return nil, err
	}
	if p.certs == 0 || p.certSize == 0 {
		return nil, ErrUnsigned
	}
	if p.certs+p.certSize > size || p.certSize > maxCertificates {
		return nil, fmt.Errorf("certificate table of %d bytes at %d is impossible in a file of %d", p.certSize, p.certs, size)
	}
	table := make([]byte, p.certSize)
	if _, err := r.ReadAt(table, p.certs); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read certificate table: %w", err)
	}
	var signers []Signer
	// WIN_CERTIFICATE: length, revision, type (2: PKCS #7), then the data; each
	// begins at a multiple of eight.
	for len(table) >= 8 {
		n := int(binary.LittleEndian.Uint32(table))
		if n < 8 || n > len(table) {
			return nil, fmt.Errorf("certificate table: an entry of %d bytes where %d are left", n, len(table))
		}
		if kind := binary.LittleEndian.Uint16(table[6:]); kind == 2 {
			list, err := readPKCS7(table[8:n], func(h crypto.Hash) ([]byte, error) { return p.digest(r, size, h) })
			if err != nil {
				return nil, fmt.Errorf("certificate table: %w", err)
			}
			signers = append(signers, list...)
		}
		table = table[min((n+7)&^7, len(table)):]
	}
	if len(signers) == 0 {
		return nil, ErrUnsigned
	}
	return signers, nil
}

// digest is the Authenticode hash of the file: all of it but the checksum, the
// directory entry of the certificate table, and the table.
func (p *pe) digest(r io.ReaderAt, size int64, h crypto.Hash) ([]byte, error) {
	sum := sha256.New()
	if h == crypto.SHA1 {
		sum = sha1.New() //nolint:gosec // see the import
	}
	for _, part := range [][2]int64{{0, p.checksum}, {p.checksum + 4, p.certDir}, {p.certDir + 8, p.certs}, {p.certs + p.certSize, size}} {
		if part[1] < part[0] {
			return nil, errors.New("its parts overlap")
		}
		if _, err := io.Copy(sum, io.NewSectionReader(r, part[0], part[1]-part[0])); err != nil {
			return nil, err
		}
	}
	return sum.Sum(nil), nil
}

// The parts of PKCS #7 (RFC 2315) and of Authenticode that are read.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	signedData struct {
		Version      int
		Digests      asn1.RawValue
		Content      contentInfo
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		CRLs         asn1.RawValue `asn1:"optional,tag:1"`
		Signers      []signerInfo  `asn1:"set"`
	}
	signerInfo struct {
		Version         int
		Issuer          issuerAndSerial
		Digest          pkix.AlgorithmIdentifier
		Authenticated   asn1.RawValue `asn1:"optional,tag:0"`
		Encryption      pkix.AlgorithmIdentifier
		Signature       []byte
		Unauthenticated asn1.RawValue `asn1:"optional,tag:1"`
	}
	issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue
	}
	// indirectData is what Authenticode signs (SpcIndirectDataContent).
	indirectData struct {
		Data   asn1.RawValue
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
	}
)

var (
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// readPKCS7 reads one signature; digest gives the hash of the file.
func readPKCS7(der []byte, digest func(crypto.Hash) ([]byte, error)) ([]Signer, error) {
	var outer contentInfo
	if _, err := asn1.Unmarshal(der, &outer); err != nil { // padding may follow
		return nil, fmt.Errorf("signature: %w", err)
	}
	if !outer.Type.Equal(oidSignedData) {
		return nil, fmt.Errorf("signature of kind %v, not PKCS #7 signed data", outer.Type)
	}
	var signed signedData
	if _, err := asn1.Unmarshal(outer.Content.Bytes, &signed); err != nil {
		return nil, fmt.Errorf("signed data: %w", err)
	}
	certs, err := x509.ParseCertificates(signed.Certificates.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	fits := checkFile(signed.Content.Content.Bytes, digest)
	var signers []Signer
	for _, info := range signed.Signers {
		i := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return info.Issuer.Serial != nil && c.SerialNumber.Cmp(info.Issuer.Serial) == 0 && bytes.Equal(c.RawIssuer, info.Issuer.Issuer.FullBytes)
		})
		if i < 0 {
			return nil, fmt.Errorf("the certificate of a signer (serial number %x) is not in the file", info.Issuer.Serial)
		}
		c := certs[i]
		s := Signer{Subject: c.Subject.CommonName, CA: c.Issuer.CommonName, Year: caYear(c.Issuer.CommonName), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
		err := errors.Join(fits, checkSigner(&info, c, signed.Content.Content.Bytes), checkIssuer(c, certs))
		if err != nil {
			s.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		signers = append(signers, s)
	}
	return signers, nil
}

// caYear knows the two CAs that sign Windows boot managers.
func caYear(name string) int {
	switch name {
	case "Microsoft Windows Production PCA 2011":
		return 2011
	case "Windows UEFI CA 2023":
		return 2023
	}
	return 0
}

// checkFile compares the hash that was signed with the file's.
func checkFile(content []byte, digest func(crypto.Hash) ([]byte, error)) error {
	var d indirectData
	if _, err := asn1.Unmarshal(content, &d); err != nil {
		return fmt.Errorf("what was signed is no Authenticode hash: %w", err)
	}
	h, err := hashOf(d.Digest.Algorithm)
	if err != nil {
		return err
	}
	sum, err := digest(h)
	if err != nil {
		return fmt.Errorf("hash the file: %w", err)
	}
	if !bytes.Equal(sum, d.Digest.Digest) {
		return errors.New("the file was changed after it was signed")
	}
	return nil
}

func hashOf(a pkix.AlgorithmIdentifier) (crypto.Hash, error) {
	switch {
	case a.Algorithm.Equal(oidSHA256):
		return crypto.SHA256, nil
	case a.Algorithm.Equal(oidSHA1):
		return crypto.SHA1, nil
	}
	return 0, fmt.Errorf("unknown hash algorithm %v", a.Algorithm)
}

// checkSigner checks the signature over the attributes, and their hash of what
// was signed.
func checkSigner(info *signerInfo, c *x509.Certificate, content []byte) error {
	h, err := hashOf(info.Digest)
	if err != nil {
		return err
	}
	var value asn1.RawValue
	if _, err := asn1.Unmarshal(content, &value); err != nil {
		return err
	}
	sum := sha256.Sum256(value.Bytes)
	want, algorithm := sum[:], x509.SHA256WithRSA
	if h == crypto.SHA1 {
		old := sha1.Sum(value.Bytes) //nolint:gosec // see the import
		want, algorithm = old[:], x509.SHA1WithRSA
	}
	found := false
	for rest := info.Authenticated.Bytes; len(rest) > 0; {
		var a attribute
		if rest, err = asn1.Unmarshal(rest, &a); err != nil {
			return fmt.Errorf("signed attributes: %w", err)
		}
		if !a.Type.Equal(oidMessageDigest) {
			continue
		}
		var have []byte
		if _, err := asn1.Unmarshal(a.Values.Bytes, &have); err != nil {
			return fmt.Errorf("signed attributes: %w", err)
		}
		if found = bytes.Equal(have, want); !found {
			return errors.New("the signature is for another hash than the one beside it")
		}
	}
	if !found {
		return errors.New("the signature names no hash")
	}
	// The attributes are signed as a SET, and stored with another tag.
	set := bytes.Clone(info.Authenticated.FullBytes)
	set[0] = 0x31
	if err := c.CheckSignature(algorithm, set, info.Signature); err != nil {
		return fmt.Errorf("the signature does not fit the certificate: %w", err)
	}
	return nil
}

// checkIssuer checks the certificate where its CA's is in the file, too.
func checkIssuer(c *x509.Certificate, certs []*x509.Certificate) error {
	for _, ca := range certs {
		if bytes.Equal(ca.RawSubject, c.RawIssuer) && ca != c {
			if err := ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
				return fmt.Errorf("the certificate was not made by %s: %w", ca.Subject.CommonName, err)
			}
			return nil
		}
	}
	return nil
}
