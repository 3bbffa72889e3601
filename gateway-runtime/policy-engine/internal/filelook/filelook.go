// Package filelook says what a file looks like from outside, for those who look at files again and again: they are not
// subscribed to, so that any way of replacing them is seen, symbolic links on the way and file systems of a network too.
package filelook

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Settled is how old a file's last change must be until its content is sure to be what was read: one that is written
// again within a tick of the file system's clock looks the same.
const Settled = 2 * time.Second

// Of is what a file looks like, which differs once it is another one or was written to, and the time of its last change.
func Of(found fs.FileInfo) (looks string, changed time.Time) {
	changed = found.ModTime()
	var inode uint64
	if system, ok := found.Sys().(*syscall.Stat_t); ok {
		inode = system.Ino
		if at := time.Unix(system.Ctim.Unix()); at.After(changed) {
			changed = at
		}
	}
	return fmt.Sprintf("%d %d %d %d;", inode, found.Size(), found.ModTime().UnixNano(), changed.UnixNano()), changed
}
