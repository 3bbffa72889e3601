// Package statedir keeps the state of a node on disk, for a start without a controller.
package statedir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// The files of a state directory. Each consists of a line "gatewright-state 1 SHA256" and a serialized Update; the Gateway's
// has a line with the digest of the file that it replaced, and a serialized Gateway.
const (
	LastGood   = "last-good" // the state that an Envoy has accepted last
	Gateway    = "gateway"   // the Gateway that an Envoy has accepted last
	Pending    = "pending"   // the update that is being applied; left over if the engine dies meanwhile
	stateMagic = "gatewright-state 1 "
)

// Directory is a state directory. A file in it is replaced as a whole or not at all.
type Directory struct {
	path         string
	failedWrites atomic.Uint64
}

// Open makes the directory if there is none.
func Open(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &Directory{path: path}, nil
}

// Path returns where the directory is.
func (d *Directory) Path() string { return d.path }

// FailedWrites counts the writes that have failed. It may be called from any goroutine.
func (d *Directory) FailedWrites() uint64 { return d.failedWrites.Load() }

// Write replaces a file. After an error the old file is still there, whole.
func (d *Directory) Write(name string, update *nodev1.Update) error {
	return d.count(d.writeMessage(name, nil, update))
}

func (d *Directory) count(err error) error {
	if err != nil {
		d.failedWrites.Add(1)
	}
	return err
}

// writeMessage writes a line with the digest of the rest, prefix, and the serialized message.
func (d *Directory) writeMessage(name string, prefix []byte, message proto.Message) error {
	content, err := proto.MarshalOptions{}.MarshalAppend(prefix, message)
	if err != nil {
		return fmt.Errorf("serialize %s: %w", name, err)
	}
	digest := sha256.Sum256(content)
	head := stateMagic + hex.EncodeToString(digest[:]) + "\n"
	path := filepath.Join(d.path, name)
	if err := writeSynced(path+".new", append([]byte(head), content...)); err != nil {
		_ = os.Remove(path + ".new")
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return d.sync()
}

// WriteGateway stores a Gateway and the digest of the file that it replaced; "": no file.
func (d *Directory) WriteGateway(gateway *nodev1.Gateway, replaced string) error {
	return d.count(d.writeMessage(Gateway, []byte(replaced+"\n"), gateway))
}

// ReadGateway returns the Gateway that replaced the file with this digest; nil, nil when there is none.
func (d *Directory) ReadGateway(file string) (*nodev1.Gateway, error) {
	content, err := d.readContent(Gateway)
	if content == nil || err != nil {
		return nil, err
	}
	replaced, body, _ := bytes.Cut(content, []byte("\n"))
	if string(replaced) != file {
		return nil, nil
	}
	gateway := &nodev1.Gateway{}
	if err := proto.Unmarshal(body, gateway); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(d.path, Gateway), err)
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

func (d *Directory) sync() error {
	directory, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Read returns a file's update; nil, nil when there is none. A damaged file is an error that names it.
func (d *Directory) Read(name string) (*nodev1.Update, error) {
	content, err := d.readContent(name)
	if content == nil || err != nil {
		return nil, err
	}
	update := &nodev1.Update{}
	if err := proto.Unmarshal(content, update); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(d.path, name), err)
	}
	return update, nil
}

// readContent returns the content below a file's first line; nil, nil when there is no file.
func (d *Directory) readContent(name string) ([]byte, error) {
	path := filepath.Join(d.path, name)
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

// Remove removes a file, if it is there.
func (d *Directory) Remove(name string) error {
	err := os.Remove(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RenameDamaged renames a damaged file to NAME.damaged.
func (d *Directory) RenameDamaged(name string) {
	path := filepath.Join(d.path, name)
	_ = os.Rename(path, path+".damaged")
}
