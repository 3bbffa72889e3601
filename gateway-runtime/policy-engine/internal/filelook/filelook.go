// Package filelook identifies the state of a file from outside, for code that polls files: polling, unlike a subscription,
// detects any way of replacing them, including symbolic links on the path and network file systems.
package filelook

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Settled is the age of a file's last change from which on its content is certain to be what was read: a file that is written
// again within a tick of the file system's clock looks the same.
const Settled = 2 * time.Second

// Of returns a fingerprint of a file, which differs once the file is replaced or written, and the time of its last change.
func Of(info fs.FileInfo) (fingerprint string, changed time.Time) {
	changed = info.ModTime()
	var inode uint64
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = system.Ino
		if at := time.Unix(system.Ctim.Unix()); at.After(changed) {
			changed = at
		}
	}
	return fmt.Sprintf("%d %d %d %d;", inode, info.Size(), info.ModTime().UnixNano(), changed.UnixNano()), changed
}
