package consumers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

const (
	folder     = "consumers" // of the state directory
	plansFile  = "plans"
	magic      = "gatewright-consumers 1 "
	gather     = 50 * time.Millisecond // changes that come together are written together
	retryAfter = 5 * time.Second       // after a write that has failed
)

// files keep the index on disk, for a start without the controller: a file for each shard, so that a change costs a thousandth of
// all, and one for the plans. A goroutine writes them. What a crash of the machine loses, the controller sends again.
type files struct {
	path  string
	index *Index
	log   *slog.Logger

	mutex sync.Mutex
	dirty map[int]bool // shards; plansNumber: the plans
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

const plansNumber = Shards

func openFiles(stateDir string, index *Index, log *slog.Logger) (*files, error) {
	path := filepath.Join(stateDir, folder)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	f := &files{path: path, index: index, log: log, dirty: map[int]bool{}, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go f.run()
	return f, nil
}

// read returns what the files have.
func (f *files) read() (changes []*nodev1.ConsumerChange) {
	for number := range Shards {
		shard := &nodev1.ConsumerShard{}
		if content := f.readFile(nameOf(number)); content != nil && f.decoded(nameOf(number), content, shard) {
			changes = append(changes, &nodev1.ConsumerChange{Shards: []*nodev1.ConsumerShard{shard}})
		}
	}
	if plans := f.readFile(plansFile); plans != nil {
		changes = append(changes, &nodev1.ConsumerChange{Plans: plans})
	}
	return changes
}

func (f *files) decoded(name string, content []byte, into proto.Message) bool {
	if err := proto.Unmarshal(content, into); err != nil {
		f.damaged(name)
		return false
	}
	return true
}

// readFile returns the content below a file's first line; nil: there is none, or it is damaged.
func (f *files) readFile(name string) []byte {
	content, err := os.ReadFile(filepath.Join(f.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	head, body, _ := bytes.Cut(content, []byte("\n"))
	if err != nil || string(head) != headOf(body) {
		f.damaged(name)
		return nil
	}
	return body
}

func (f *files) damaged(name string) {
	f.log.Error("a file of consumers is damaged: its consumers are refused until the controller has sent them again", "file", filepath.Join(f.path, name))
}

func headOf(body []byte) string {
	digest := sha256.Sum256(body)
	return magic + hex.EncodeToString(digest[:])
}

// write has the goroutine write these shards, and the plans.
func (f *files) write(shards []int, plans bool) {
	if len(shards) == 0 && !plans {
		return
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, number := range shards {
		f.dirty[number] = true
	}
	if plans {
		f.dirty[plansNumber] = true
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *files) run() {
	defer close(f.done)
	for {
		select {
		case <-f.stop:
			f.flush()
			return
		case <-f.wake:
		}
		wait := gather
		if !f.flush() {
			wait = retryAfter
		}
		select {
		case <-f.stop:
			f.flush()
			return
		case <-time.After(wait):
		}
	}
}

// flush writes what has changed, and reports whether all of it is written; the rest is tried again.
func (f *files) flush() bool {
	f.mutex.Lock()
	dirty := f.dirty
	f.dirty = map[int]bool{}
	f.mutex.Unlock()
	for number := range dirty {
		if err := f.writeNumber(number); err != nil {
			f.log.Error("cannot store consumers: after a restart without controller a revoked key would be valid again", "directory", f.path, "error", err.Error())
			for left := range dirty {
				f.write([]int{left}, false)
			}
			return false
		}
	}
	return true
}

func (f *files) writeNumber(number int) error {
	if number == plansNumber {
		return f.replace(plansFile, f.index.serializedPlans())
	}
	body, err := proto.Marshal(f.index.shard(number))
	if err != nil {
		return err
	}
	return f.replace(nameOf(number), body)
}

// replace replaces a file as a whole or not at all.
func (f *files) replace(name string, body []byte) error {
	path := filepath.Join(f.path, name)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(headOf(body) + "\n")
	if err == nil {
		_, err = file.Write(body)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (f *files) close() {
	close(f.stop)
	<-f.done
}
