package auditlog

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// checkInterval is the time between two checks whether log rotation has moved the open file away.
	checkInterval = time.Second
	mode          = 0o640

	// patience is the longest time that a line waits for another process that writes to the file: a stopped process may
	// never release its lock. After a wait in vain, lines wait for lessPatience, until a line is written again.
	patience     = time.Second
	lessPatience = 20 * time.Millisecond
	pause        = time.Millisecond // between two attempts
)

// file appends lines, each as a whole or not at all. Several files, in this process and others, may append to the same path
// at the same time: a lock (flock) lets one write at a time, and the others wait for at most patience.
type file struct {
	path     string
	interval time.Duration // the longest time until a line is synced; 0: at once; negative: lines are not synced

	mutex    sync.Mutex
	open     *os.File
	checked  time.Time // when open was last compared with the path
	timedOut bool      // the last wait for another process was in vain
	unsynced bool
	timer    *time.Timer
	chain    *chain // nil: lines are not chained
}

func newFile(path string, interval time.Duration, chained bool) (*file, error) {
	opened, err := openFile(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, interval: interval, open: opened, checked: time.Now()}
	if chained {
		f.chain = &chain{writer: rand.Text()}
	}
	return f, nil
}

// openFile opens the file, and creates it if necessary. It follows no link, and accepts only a regular file.
func openFile(path string) (*os.File, error) {
	opened, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: expected a file, got %s", path, info.Mode().Type())
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// append writes the entry as one line. If that fails, no part of the line stays in the file.
func (f *file) append(e *entry) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.open == nil {
		return os.ErrClosed
	}
	if err := f.reopenIfMoved(); err != nil {
		return err
	}
	if f.chain != nil {
		e.Chain = f.chain.next()
	}
	line, err := e.encode()
	if err != nil {
		return err
	}
	if err := f.write(line); err != nil {
		return err
	}
	if f.chain != nil {
		f.chain.advance(line)
	}
	return f.scheduleSync()
}

// reopenIfMoved opens the path again if log rotation has moved the open file away. If the path cannot be opened, each line
// tries again, since lines in a deleted file would be lost.
func (f *file) reopenIfMoved() error {
	if time.Since(f.checked) < checkInterval {
		return nil
	}
	ours, err := f.open.Stat()
	if err != nil {
		return err
	}
	if info, err := os.Lstat(f.path); err == nil && os.SameFile(ours, info) {
		f.checked = time.Now()
		return nil
	}
	opened, err := openFile(f.path)
	if err != nil {
		return err
	}
	err = errors.Join(f.flush(), f.open.Close())
	f.open, f.checked = opened, time.Now()
	return err
}

// write appends the line in one call, and removes an incomplete line.
func (f *file) write(line []byte) (err error) {
	target := f.open
	if err := f.lock(); err != nil {
		return fmt.Errorf("lock %s: %w", f.path, err)
	}
	defer func() { err = errors.Join(err, syscall.Flock(int(target.Fd()), syscall.LOCK_UN)) }()
	written, err := target.Write(line)
	if err == nil || written == 0 {
		return err
	}
	info, failed := target.Stat()
	if failed == nil && info.Size() >= int64(written) { // a program that does not lock the file may have truncated it
		failed = target.Truncate(info.Size() - int64(written))
	}
	return errors.Join(err, failed)
}

// lock waits until no other process writes to the file.
func (f *file) lock() error {
	wait := patience
	if f.timedOut {
		wait = lessPatience
	}
	for begun := time.Now(); ; time.Sleep(pause) {
		err := syscall.Flock(int(f.open.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		f.timedOut = errors.Is(err, syscall.EWOULDBLOCK)
		if !f.timedOut && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if time.Since(begun) >= wait {
			return fmt.Errorf("expected the file's lock within %s, but another process still holds it; check whether that process is stopped", wait)
		}
	}
}

// scheduleSync syncs the file at once or within the interval.
func (f *file) scheduleSync() error {
	switch {
	case f.interval == 0:
		return f.open.Sync()
	case f.interval > 0 && !f.unsynced:
		f.unsynced = true
		f.timer = time.AfterFunc(f.interval, f.syncLater)
	}
	return nil
}

func (f *file) syncLater() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.open == nil {
		return
	}
	if err := f.flush(); err != nil {
		slog.Error("the audit log could not be synced; its last lines may be lost if the machine crashes", "file", f.path, "error", err.Error())
	}
}

func (f *file) flush() error {
	if !f.unsynced {
		return nil
	}
	f.unsynced = false
	f.timer.Stop()
	return f.open.Sync()
}

func (f *file) close() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.open == nil {
		return nil
	}
	err := errors.Join(f.flush(), f.open.Close())
	f.open = nil
	return err
}

// chain links each line of a writer to the previous one, so that removing or changing a line breaks the chain.
type chain struct {
	writer   string
	sequence uint64
	previous string
}

// link is a line's part of its chain. Previous is the SHA-256, in hex, of the writer's previous line, without its line
// end; "" in the first.
type link struct {
	Writer   string `json:"writer"`
	Sequence uint64 `json:"sequence"`
	Previous string `json:"previous"`
}

func (c *chain) next() *link { return &link{c.writer, c.sequence + 1, c.previous} }

func (c *chain) advance(line []byte) {
	digest := sha256.Sum256(line[:len(line)-1])
	c.sequence, c.previous = c.sequence+1, hex.EncodeToString(digest[:])
}
