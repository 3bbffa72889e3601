// Package certificates reads and checks the certificates, keys and authorities whose files a Gateway names, and
// watches the files. It knows PEM and X.509, and nothing of Envoy. Its errors and logs contain no keys.
package certificates

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Certificate is a certificate with its private key, in PEM files.
type Certificate struct {
	File    string // the chain, beginning with the server's or client's own certificate
	KeyFile string
	Renewed bool // by ACME
}

// Authority names PEM files with certificates of authorities, and with their revocation lists.
type Authority struct {
	File           string
	RevocationFile string // "": none
}

// Sources are the files of a Gateway by the names that it gives them.
type Sources struct {
	Certificates map[string]Certificate
	Authorities  map[string]Authority
}

// Empty reports whether there are no sources.
func (s Sources) Empty() bool { return len(s.Certificates)+len(s.Authorities) == 0 }

// HasSame reports whether other has a source under the same name, with the same files.
func (s Sources) HasSame(other Sources, source Source) bool {
	if source.Kind == KindAuthority {
		authority, ok := s.Authorities[source.Name]
		return ok && authority == other.Authorities[source.Name]
	}
	certificate, ok := s.Certificates[source.Name]
	return ok && certificate == other.Certificates[source.Name]
}

// Contents are the checked contents of sources.
type Contents struct {
	Certificates map[string]Pair
	Authorities  map[string]Trust
}

// CopyFrom copies the content of a source from other, if it has one.
func (c Contents) CopyFrom(other Contents, source Source) {
	if pair, ok := other.Certificates[source.Name]; ok && source.Kind == KindCertificate {
		c.Certificates[source.Name] = pair
	}
	if trust, ok := other.Authorities[source.Name]; ok && source.Kind == KindAuthority {
		c.Authorities[source.Name] = trust
	}
}

// Failures are the sources whose files cannot be used, each with the reason: the file, what was expected, what was found, and
// the cure.
type Failures map[Source]string

// Source identifies one of Sources.
type Source struct {
	Kind string // KindCertificate or KindAuthority
	Name string
}

// The kinds of a source.
const (
	KindCertificate = "certificate"
	KindAuthority   = "authority"
)

// Sources returns the failing sources, certificates first, sorted by name.
func (f Failures) Sources() []Source { return slices.SortedFunc(maps.Keys(f), Source.compare) }

// Err returns nil if there are no failures.
func (f Failures) Err() error {
	var errs []error
	for _, source := range f.Sources() {
		errs = append(errs, fmt.Errorf("%s %s: %s", source.Kind, source.Name, f[source]))
	}
	return errors.Join(errs...)
}

func (s Source) compare(other Source) int {
	return cmp.Or(-strings.Compare(s.Kind, other.Kind), strings.Compare(s.Name, other.Name)) // certificates first
}

// Load reads and checks all files. It returns the contents of the usable ones, and the failures of the others.
func Load(sources Sources) (Contents, Failures) {
	contents, failures := Contents{Certificates: map[string]Pair{}, Authorities: map[string]Trust{}}, Failures{}
	for name, certificate := range sources.Certificates {
		if pair, err := certificate.load(); err != nil {
			failures[Source{KindCertificate, name}] = err.Error()
		} else {
			contents.Certificates[name] = pair
		}
	}
	for name, authority := range sources.Authorities {
		if trust, err := authority.load(); err != nil {
			failures[Source{KindAuthority, name}] = err.Error()
		} else {
			contents.Authorities[name] = trust
		}
	}
	return contents, failures
}

func (c Certificate) files() []string { return []string{c.File, c.KeyFile} }

func (c Certificate) load() (Pair, error) {
	chain, chainErr := read(c.File)
	key, keyErr := read(c.KeyFile)
	if err := errors.Join(chainErr, keyErr); err != nil {
		return Pair{}, err
	}
	return parsePair(c, chain, key)
}

func (a Authority) files() []string {
	if a.RevocationFile == "" {
		return []string{a.File}
	}
	return []string{a.File, a.RevocationFile}
}

func (a Authority) load() (Trust, error) {
	authorities, err := read(a.File)
	if err != nil {
		return Trust{}, err
	}
	var lists []byte
	if a.RevocationFile != "" {
		if lists, err = read(a.RevocationFile); err != nil {
			return Trust{}, err
		}
	}
	return parseTrust(a, authorities, lists)
}

// mostBytes is the largest size of a PEM file: a larger file has other content.
const mostBytes = 8 << 20

// read reads a regular file. It opens the file before it checks its type, so that both concern the same file, and without
// waiting for the other end of a pipe.
func read(file string) ([]byte, error) {
	opened, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: expected a PEM file, got none: put it there, or name another", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: cannot be read: %w: let the user of this process read it", file, cause(err))
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	}
	defer func() { _ = opened.Close() }()
	info, err := opened.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a file, got %s: name a PEM file", file, kindOf(info.Mode()))
	}
	content, err := io.ReadAll(io.LimitReader(opened, mostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	}
	if len(content) > mostBytes {
		return nil, fmt.Errorf("%s: expected a PEM file of at most %d bytes, got more: name another", file, mostBytes)
	}
	return content, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "something else"
	}
}

// cause removes the path from a file's error, since the message contains it already.
func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
