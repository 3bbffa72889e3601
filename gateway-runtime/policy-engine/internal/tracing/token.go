package tracing

import (
	"crypto/subtle"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// rereadAfter is how old what was read of the file may be. It is read only when somebody presents a token.
const rereadAfter = time.Second

// tokenFile holds the token that forces a trace. It may be replaced at any time.
type tokenFile struct {
	path string // "": nothing forces one
	log  *slog.Logger

	mutex  sync.Mutex
	read   time.Time
	token  string
	reason string // why it could not be read, as it was logged
}

// is reports whether it is the token, in a time that does not tell how much of it is right.
func (f *tokenFile) is(presented string) bool {
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
