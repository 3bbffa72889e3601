package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"gatewright.dev/policy-engine/internal/filelook"
)

// MaxBytes is the largest size of a secret's file.
const MaxBytes = 64 << 10

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,252}$`)

// folder is the folder of the files. Nothing outside of it is ever read, whatever a name or a link refers to.
type folder string

// candidates returns the paths within the folder that may have a secret: its API's own file, or the one for all APIs.
func candidates(ref Ref) []string {
	if api := ref.API; api == "" || strings.HasPrefix(api, ".") || strings.ContainsAny(api, "/\x00") {
		return []string{ref.Name}
	}
	return []string{path.Join(ref.API, ref.Name), ref.Name}
}

// fingerprint returns what identifies the state of a secret's files from outside, and the time of the newest change.
func (f folder) fingerprint(ref Ref) (result string, newest time.Time) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return "no folder", newest
	}
	defer func() { _ = root.Close() }()
	for _, name := range candidates(ref) {
		info, err := root.Stat(name)
		if err != nil {
			result += fmt.Sprintf("%v;", errors.Is(err, fs.ErrNotExist))
			continue
		}
		part, changed := filelook.Of(info)
		if result += part; changed.After(newest) {
			newest = changed
		}
	}
	return result, newest
}

// read returns the value of a secret without one newline at its end. Errors contain the path and no content.
func (f folder) read(ref Ref, log *slog.Logger) (string, error) {
	if !goodName.MatchString(ref.Name) {
		return "", fmt.Errorf("secret %q: expected a name of lower-case letters, digits, -, _ and ., which begins with a letter or digit", ref.Name)
	}
	if f == "" {
		return "", fmt.Errorf("secret %s: expected a folder with a file of this name, got none: start the node with --secrets DIR", ref.Name)
	}
	root, err := os.OpenRoot(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return "", f.missing(ref)
	}
	if err != nil {
		return "", fmt.Errorf("secret %s: %s: cannot be read: %w", ref.Name, f, cause(err))
	}
	defer func() { _ = root.Close() }()
	for _, name := range candidates(ref) {
		opened, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		where := f.path(name)
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", ref.Name, accessError(where, err))
		}
		value, err := readFile(opened, where, log)
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", ref.Name, err)
		}
		return value, nil
	}
	return "", f.missing(ref)
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

func (f folder) missing(ref Ref) error {
	var paths []string
	for _, name := range candidates(ref) {
		paths = append(paths, f.path(name))
	}
	return fmt.Errorf("secret %s: expected a file, %s, got none: put it there, and the API goes on by itself",
		ref.Name, strings.Join(paths, " or "))
}

func accessError(where string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: cannot be read: %w: let the user of the gateway read it", where, cause(err))
	case strings.Contains(err.Error(), "path escapes"):
		return fmt.Errorf("%s: expected a file within the folder of secrets, got a link that leads out of it: put the file itself there", where)
	default:
		return fmt.Errorf("%s: cannot be read: %w", where, cause(err))
	}
}

// readFile reads and closes a file. The file is open before it is checked, so that both concern the same file.
func readFile(opened *os.File, where string, log *slog.Logger) (string, error) {
	defer func() { _ = opened.Close() }()
	info, err := opened.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w", where, cause(err))
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: expected a regular file, got another kind (%s): put a file there", where, info.Mode().Type())
	}
	content, err := io.ReadAll(io.LimitReader(opened, MaxBytes+1))
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w", where, cause(err))
	}
	if len(content) > MaxBytes {
		return "", fmt.Errorf("%s: expected at most %d bytes, got more: put the secret alone there", where, MaxBytes)
	}
	if !utf8.Valid(content) {
		return "", fmt.Errorf("%s: expected UTF-8 text, got other bytes: encode it, as by base64", where)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("%s: expected a secret, got an empty file: write it there", where)
	}
	if info.Mode().Perm()&0o004 != 0 {
		log.Warn("a secret's file may be read by every user: chmod o-r", "file", where)
	}
	return value, nil
}

// cause removes the path from a file's error, since the message contains it already.
func cause(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
