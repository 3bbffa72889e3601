// Package statedir keeps the state of a node on disk, for a start without a controller.
package statedir

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	Secrets    = "secrets"   // the values of the controller's Secrets, in no other file
	stateMagic = "gatewright-state 1 "
)

const writeBytes = 64 << 10 // written at once

// Directory is a state directory. A file in it is replaced as a whole or not at all.
type Directory struct {
	path         string
	failedWrites atomic.Uint64
	stored       *stored // the last good state as the files hold it; nil: not known
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
	if name == LastGood {
		d.stored = nil
	}
	_, _, err = d.replace(name, func(write func([]byte) error) error { return write(content) })
	return err
}

// replace replaces a file: a line with the digest of the rest, and what content writes. It returns the size and the digest of the
// rest. After an error the old file is still there, whole.
func (d *Directory) replace(name string, content func(write func([]byte) error) error) (int64, [sha256.Size]byte, error) {
	path, hash, size := filepath.Join(d.path, name), sha256.New(), int64(0)
	err := writeSynced(path+".new", func(file *os.File) error {
		buffer := bufio.NewWriterSize(file, writeBytes)
		if _, err := buffer.WriteString(headOf(hash.Sum(nil))); err != nil { // keeps the place: all digests are of one length
			return err
		}
		err := content(func(text []byte) error {
			size += int64(len(text))
			_, _ = hash.Write(text)
			_, err := buffer.Write(text)
			return err
		})
		if err = errors.Join(err, buffer.Flush()); err != nil {
			return err
		}
		_, err = file.WriteAt([]byte(headOf(hash.Sum(nil))), 0)
		return err
	})
	if err != nil {
		_ = os.Remove(path + ".new")
		return 0, [sha256.Size]byte{}, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return 0, [sha256.Size]byte{}, err
	}
	return size, [sha256.Size]byte(hash.Sum(nil)), d.sync()
}

func headOf(digest []byte) string { return stateMagic + hex.EncodeToString(digest) + "\n" }

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

func writeSynced(path string, content func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = content(file)
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

// Read returns a file's update, the last good state with the changes of its journal; nil, nil when there is none. A damaged file is an error that names it.
func (d *Directory) Read(name string) (*nodev1.Update, error) {
	content, err := d.readContent(name)
	if content == nil || err != nil {
		return nil, err
	}
	update := &nodev1.Update{}
	if err := proto.Unmarshal(content, update); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(d.path, name), err)
	}
	if name == LastGood {
		if err := d.readJournal(update, sha256.Sum256(content)); err != nil {
			return nil, err
		}
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
	if expected := strings.TrimSuffix(headOf(digest[:]), "\n"); string(head) != expected {
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

// RenameDamaged renames a damaged file to NAME.damaged, and its journal, if there is one.
func (d *Directory) RenameDamaged(name string) {
	for _, path := range []string{filepath.Join(d.path, name), filepath.Join(d.path, name+".journal")} {
		_ = os.Rename(path, path+".damaged")
	}
}
