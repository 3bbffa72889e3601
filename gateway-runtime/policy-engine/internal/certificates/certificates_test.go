package certificates_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
)

func write(t *testing.T, contents map[string][]byte) map[string]string {
	t.Helper()
	return certificatestest.Write(t, t.TempDir(), contents)
}

func oneCertificate(chain, key string) certificates.Sources {
	return certificates.Sources{Certificates: map[string]certificates.Certificate{"web": {File: chain, KeyFile: key}}}
}

func oneAuthority(file, revoked string) certificates.Sources {
	return certificates.Sources{Authorities: map[string]certificates.Authority{"clients": {File: file, RevocationFile: revoked}}}
}

func TestValidFilesAreRead(t *testing.T) {
	ca := certificatestest.NewAuthority(t, "ca")
	issued := ca.Issue("web.example")
	paths := write(t, map[string][]byte{"chain": append(bytes.Clone(issued.Chain), ca.PEM...), "key": issued.Key, "ca": ca.PEM, "crl": ca.Revoke(issued)})
	contents, failures := certificates.Load(certificates.Sources{
		Certificates: oneCertificate(paths["chain"], paths["key"]).Certificates, Authorities: oneAuthority(paths["ca"], paths["crl"]).Authorities})
	if err := failures.Err(); err != nil {
		t.Fatal(err)
	}
	if pair := contents.Certificates["web"]; !bytes.Contains(pair.Chain, ca.PEM) || !bytes.Equal(pair.Key, issued.Key) || pair.Validity.Ends.Before(time.Now()) {
		t.Errorf("%+v", pair.Validity.Ends)
	}
	if trust := contents.Authorities["clients"]; !trust.EachHasList || trust.Lists.Ends.IsZero() || len(trust.RevocationLists) == 0 {
		t.Errorf("%+v", trust)
	}
}

func TestAnAuthorityWithoutAListAmongOthersWithOne(t *testing.T) {
	ca, other := certificatestest.NewAuthority(t, "ca"), certificatestest.NewAuthority(t, "other")
	paths := write(t, map[string][]byte{"ca": append(bytes.Clone(ca.PEM), other.PEM...), "crl": ca.Revoke()})
	contents, failures := certificates.Load(oneAuthority(paths["ca"], paths["crl"]))
	if err := failures.Err(); err != nil || contents.Authorities["clients"].EachHasList {
		t.Errorf("%v %+v", err, contents.Authorities["clients"])
	}
}

func TestUnusableFilesAreReportedWithTheirCure(t *testing.T) {
	ca, other := certificatestest.NewAuthority(t, "ca"), certificatestest.NewAuthority(t, "other")
	issued, second := ca.Issue("web.example"), ca.Issue("second.example")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := ca.IssueFor("weak.example", small, time.Now().Add(time.Hour))
	odd := ca.IssueFor("odd.example", certificatestest.Key(t, elliptic.P224()), time.Now().Add(time.Hour))
	encrypted := []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	paths := write(t, map[string][]byte{"chain": issued.Chain, "key": issued.Key, "secondKey": second.Key, "half": issued.Chain[:len(issued.Chain)/2],
		"one-and-a-half": append(bytes.Clone(issued.Chain), ca.PEM[:len(ca.PEM)/2]...), "encrypted": encrypted, "text": []byte("hello"), "empty": nil,
		"weak": weak.Chain, "weakKey": weak.Key, "odd": odd.Chain, "oddKey": odd.Key, "ca": ca.PEM, "crl": ca.Revoke(), "otherCRL": other.Revoke()})
	none, folder := filepath.Join(t.TempDir(), "none"), t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sources  certificates.Sources
		expected []string
	}{
		{oneCertificate(none, paths["key"]), []string{"certificate web: " + none + ": expected a PEM file, got none: put it there"}},
		{oneCertificate(folder, paths["key"]), []string{folder + ": expected a file, got a directory: name a PEM file"}},
		{oneCertificate(pipe, paths["key"]), []string{pipe + ": expected a file, got a pipe"}}, // without a writer
		{oneCertificate("/dev/zero", paths["key"]), []string{"/dev/zero: expected a file, got a device"}},
		{oneCertificate(paths["chain"], paths["secondKey"]), []string{paths["secondKey"] + ": expected the private key of the first certificate in " + paths["chain"], "CN=web.example", "got another one"}},
		{oneCertificate(paths["half"], paths["key"]), []string{paths["half"] + ": expected whole PEM blocks"}},
		{oneCertificate(paths["one-and-a-half"], paths["key"]), []string{paths["one-and-a-half"] + ": expected whole PEM blocks"}},
		{oneCertificate(paths["text"], paths["key"]), []string{"expected a PEM block CERTIFICATE, got none"}},
		{oneCertificate(paths["empty"], paths["key"]), []string{"expected a PEM block CERTIFICATE, got none"}},
		{oneCertificate(paths["chain"], paths["text"]), []string{paths["text"] + ": expected a PEM block PRIVATE KEY, got none"}},
		{oneCertificate(paths["chain"], paths["encrypted"]), []string{"expected a key without a passphrase, got an encrypted one"}},
		{oneCertificate(paths["weak"], paths["weakKey"]), []string{"expected a key of at least 2048 bits, got RSA with 1024"}},
		{oneCertificate(paths["odd"], paths["oddKey"]), []string{"expected a certificate for a key of RSA, of ECDSA P-256, P-384 or P-521, or Ed25519, got ECDSA"}},
		{oneAuthority(none, ""), []string{"authority clients: " + none}},
		{oneAuthority(paths["text"], ""), []string{"expected a PEM block CERTIFICATE"}},
		{oneAuthority(paths["ca"], paths["text"]), []string{paths["text"] + ": expected a PEM block X509 CRL, got none"}},
		{oneAuthority(paths["ca"], paths["otherCRL"]), []string{"expected one that an authority of the file beside it has signed, got one of CN=other"}},
	} {
		_, failures := certificates.Load(c.sources)
		err := failures.Err()
		for _, expected := range c.expected {
			if err == nil || !strings.Contains(err.Error(), expected) {
				t.Errorf("expected %q, got %v", expected, err)
			}
		}
		for _, secret := range [][]byte{issued.Key, second.Key, weak.Key} {
			if line := strings.Split(string(secret), "\n")[1]; err != nil && strings.Contains(err.Error(), line) {
				t.Errorf("a key stands in %v", err)
			}
		}
	}
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	file, err := os.Create(path)
	if err == nil {
		err = file.Truncate(1 << 40)
	}
	if err != nil {
		t.Skip(err)
	}
	_ = file.Close()
	_, failures := certificates.Load(oneAuthority(path, ""))
	if err := failures.Err(); err == nil || !strings.Contains(err.Error(), "of at most") {
		t.Errorf("got %v", err)
	}
}
