package tracing

import (
	"crypto/subtle"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// rereadAfter is the longest age of the token that was read. The file is read only when a token is presented.
const rereadAfter = time.Second

// tokenFile is the file of the token that forces a trace. It may be replaced at any time.
type tokenFile struct {
	path string // "": no trace can be forced
	log  *slog.Logger

	mutex  sync.Mutex
	read   time.Time
	token  string
	reason string // why it could not be read, as logged
}

// matches compares a presented token in constant time.
func (f *tokenFile) matches(presented string) bool {
	if f.path == "" || presented == "" {
		return false
	}
	token := f.current()
	return token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(presented)) == 1
}

func (f *tokenFile) current() string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if time.Since(f.read) < rereadAfter {
		return f.token
	}
	f.read = time.Now()
	text, err := os.ReadFile(f.path)
	f.token = strings.TrimSpace(string(text))
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case f.token == "":
		reason = "the file is empty"
	}
	if reason != "" && reason != f.reason {
		f.log.Warn("no token forces traces", "file", f.path, "reason", reason)
	}
	f.reason = reason
	return f.token
}
