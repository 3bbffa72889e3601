// Package certificates reads the certificates, keys and authorities that a Gateway names by their files, checks them, and
// watches the files. It knows PEM and X.509; it knows nothing of Envoy. Keys stand in no error of its and in no log.
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
	File    string // the chain, the server's or client's own certificate first
	KeyFile string
	Renewed bool // by ACME
}

// Authority is certificates of authorities, and lists of what they have revoked, in PEM files.
type Authority struct {
	File           string
	RevocationFile string // "": there is none
}

// Sources are files by the names that a Gateway has for them.
type Sources struct {
	Certificates map[string]Certificate
	Authorities  map[string]Authority
}

// Empty reports whether there is nothing to read.
func (s Sources) Empty() bool { return len(s.Certificates)+len(s.Authorities) == 0 }

// HasSame reports whether other has a source under the same name, with the same files.
func (s Sources) HasSame(other Sources, source Source) bool {
	if source.Kind == KindAuthority {
		authority, there := s.Authorities[source.Name]
		return there && authority == other.Authorities[source.Name]
	}
	certificate, there := s.Certificates[source.Name]
	return there && certificate == other.Certificates[source.Name]
}

// Contents are what was read of sources, checked.
type Contents struct {
	Certificates map[string]Pair
	Authorities  map[string]Trust
}

// Take has c hold what other holds of a source, if anything.
func (c Contents) Take(other Contents, source Source) {
	if pair, held := other.Certificates[source.Name]; held && source.Kind == KindCertificate {
		c.Certificates[source.Name] = pair
	}
	if trust, held := other.Authorities[source.Name]; held && source.Kind == KindAuthority {
		c.Authorities[source.Name] = trust
	}
}

// Failures are the sources whose files cannot be used, each with the reason: the file, what was expected, what it got, and
// the cure.
type Failures map[Source]string

// Source is one of Sources.
type Source struct {
	Kind string // Kind of a certificate, or of an authority
	Name string
}

// The kinds of a source.
const (
	KindCertificate = "certificate"
	KindAuthority   = "authority"
)

// Sources are the failing sources, certificates first, sorted by name.
func (f Failures) Sources() []Source { return slices.SortedFunc(maps.Keys(f), Source.compare) }

// Err is nil where all can be used.
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

// Load reads and checks all files. What it returns is what could be read, and what could not.
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

// mostBytes of a file: one that is larger holds something else.
const mostBytes = 8 << 20

// read opens a file before it looks at what it is, so that it looks at what it reads; and does not wait for it, as for the
// other end of a pipe.
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
	found, err := opened.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", file, cause(err))
	}
	if !found.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a file, got %s: name a PEM file", file, kindOf(found.Mode()))
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

// cause leaves out of a file's error the path, which stands before it already.
func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
