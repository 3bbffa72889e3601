// Package certificatestest issues certificates for tests.
package certificatestest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t           testing.TB
	certificate *x509.Certificate
	key         crypto.Signer
	PEM         []byte
}

// Issued is a certificate and its key, in PEM.
type Issued struct{ Chain, Key []byte }

// NewAuthority makes an authority with a key of its own.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	return newAuthority(t, name, nil)
}

// NewAuthority makes an authority that a has signed.
func (a *Authority) NewAuthority(name string) *Authority {
	a.t.Helper()
	return newAuthority(a.t, name, a)
}

// newAuthority makes an authority that signer has signed; nil: a self-signed one.
func newAuthority(t testing.TB, name string, signer *Authority) *Authority {
	t.Helper()
	key := Key(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	a, parent := &Authority{t: t, key: key}, template
	if signer == nil {
		signer = a
	} else {
		parent = signer.certificate
	}
	der := signer.sign(template, parent, key.Public())
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.certificate, a.PEM = certificate, block("CERTIFICATE", der)
	return a
}

// Issue signs a certificate for a DNS name, with a new P-256 key, for 60 days.
func (a *Authority) Issue(name string) Issued {
	a.t.Helper()
	return a.IssueFor(name, Key(a.t, elliptic.P256()), time.Now().Add(60*24*time.Hour))
}

// IssueFor signs a certificate for a given key, until a given time.
func (a *Authority) IssueFor(name string, key crypto.Signer, until time.Time) Issued {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: serial(a.t), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Issued{Chain: block("CERTIFICATE", a.sign(template, a.certificate, key.Public())), Key: block("PRIVATE KEY", private)}
}

// Revoke makes a revocation list of these certificates.
func (a *Authority) Revoke(issued ...Issued) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: serial(a.t), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(60 * 24 * time.Hour)}
	for _, certificate := range issued {
		decoded, _ := pem.Decode(certificate.Chain)
		certificate, err := x509.ParseCertificate(decoded.Bytes)
		if err != nil {
			a.t.Fatal(err)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: certificate.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return block("X509 CRL", der)
}

// Key makes a key on a curve.
func Key(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Write puts contents into a folder, under their names, and returns the paths.
func Write(t testing.TB, folder string, contents map[string][]byte) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for name, content := range contents {
		paths[name] = filepath.Join(folder, name)
		if err := os.WriteFile(paths[name], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func (a *Authority) sign(template, parent *x509.Certificate, public crypto.PublicKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
