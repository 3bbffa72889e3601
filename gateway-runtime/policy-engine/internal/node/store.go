package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// The files of a state directory. Each consists of a line "gatewright-state 1 SHA256" and a serialized Update; the Gateway's
// has a line with the digest of the file that it replaced, and a serialized Gateway.
const (
	lastGoodFile = "last-good" // the state that an Envoy has accepted last
	gatewayFile  = "gateway"   // the Gateway that an Envoy has accepted last
	pendingFile  = "pending"   // the update that is being applied; left over if the engine dies meanwhile
	stateMagic   = "gatewright-state 1 "
)

// store keeps desired state on disk. A file is replaced as a whole or not at all.
type store struct{ directory string }

func openStore(directory string) (*store, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &store{directory}, nil
}

// write replaces a file. After an error the old file is still there, whole.
func (s *store) write(name string, update *nodev1.Update) error {
	content, err := proto.Marshal(update)
	if err != nil {
		return fmt.Errorf("serialize %s: %w", name, err)
	}
	return s.writeContent(name, content)
}

func (s *store) writeContent(name string, content []byte) error {
	digest := sha256.Sum256(content)
	head := stateMagic + hex.EncodeToString(digest[:]) + "\n"
	path := filepath.Join(s.directory, name)
	if err := writeSynced(path+".new", append([]byte(head), content...)); err != nil {
		_ = os.Remove(path + ".new")
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return s.sync()
}

// writeGateway stores a Gateway and the digest of the file that it replaced; "": no file.
func (s *store) writeGateway(gateway *nodev1.Gateway, replaced string) error {
	content, err := proto.Marshal(gateway)
	if err != nil {
		return fmt.Errorf("serialize %s: %w", gatewayFile, err)
	}
	return s.writeContent(gatewayFile, append([]byte(replaced+"\n"), content...))
}

// readGateway returns the Gateway that replaced the file with this digest; nil, nil when there is none.
func (s *store) readGateway(file string) (*nodev1.Gateway, error) {
	content, err := s.readContent(gatewayFile)
	if content == nil || err != nil {
		return nil, err
	}
	replaced, body, _ := bytes.Cut(content, []byte("\n"))
	if string(replaced) != file {
		return nil, nil
	}
	gateway := &nodev1.Gateway{}
	if err := proto.Unmarshal(body, gateway); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(s.directory, gatewayFile), err)
	}
	return gateway, nil
}

func writeSynced(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (s *store) sync() error {
	directory, err := os.Open(s.directory)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// read returns a file's update; nil, nil when there is none. A damaged file is an error that names it.
func (s *store) read(name string) (*nodev1.Update, error) {
	content, err := s.readContent(name)
	if content == nil || err != nil {
		return nil, err
	}
	update := &nodev1.Update{}
	if err := proto.Unmarshal(content, update); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(s.directory, name), err)
	}
	return update, nil
}

// readContent returns the content below a file's first line; nil, nil when there is no file.
func (s *store) readContent(name string) ([]byte, error) {
	path := filepath.Join(s.directory, name)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(content, []byte("\n"))
	digest := sha256.Sum256(body)
	if expected := stateMagic + hex.EncodeToString(digest[:]); string(head) != expected {
		return nil, fmt.Errorf("%s is damaged: expected its first line to be %q, got another one", path, expected) // the line found may contain a secret
	}
	return body, nil
}

func (s *store) remove(name string) error {
	err := os.Remove(filepath.Join(s.directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
