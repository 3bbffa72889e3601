// Package peers restricts a Unix socket to certain processes. All processes of a node run as one
// user, including those that run policies, so a socket's mode does not distinguish them; the kernel's credentials of the
// peer (unix(7), SO_PEERCRED) do.
package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The roles of a node's processes in the supervisor's file.
const (
	Supervisor = "supervisor"
	Envoy      = "envoy"
)

var proc = "/proc/" // proc(5)

// Rule admits peers. File is the supervisor's peers.json: the pids of a node's processes by role, {"envoy": 7}. A second process
// of a role, which takes the place of the first, has a number: {"envoy": 7, "envoy.2": 9}.
type Rule struct {
	File  string
	Roles []string
	// Outside also admits processes that do not descend from the supervisor: commands of the same user, or of root. Processes
	// that a policy starts do descend from it, since the supervisor adopts orphans.
	Outside bool
}

// refusal returns why the peer may not connect, nil if it may. pid is 0 if it is unknown.
func (r Rule) refusal(connection *net.UnixConn) (pid int, reason error) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { pid, reason = r.check(int(fd)) })
	return pid, errors.Join(failed, reason)
}

func (r Rule) check(socket int) (pid int, reason error) {
	peer, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	pid = int(peer.Pid)
	pids, err := readPeers(r.File)
	if err != nil {
		return pid, err
	}
	if !r.hasRole(pids, pid) {
		if err := r.checkOutside(pid, int(peer.Uid), pids[Supervisor]); err != nil {
			return pid, err
		}
	}
	return pid, checkAlive(socket) // last: if the process still runs, pid is not another one's
}

// hasRole reports whether a process has one of the rule's roles.
func (r Rule) hasRole(pids map[string]int, pid int) bool {
	for name, known := range pids {
		if role, _, _ := strings.Cut(name, "."); known == pid && pid != 0 && slices.Contains(r.Roles, role) {
			return true
		}
	}
	return false
}

func (r Rule) checkOutside(pid, uid, supervisor int) error {
	switch {
	case !r.Outside:
		return fmt.Errorf("expected one of %v", r.Roles)
	case uid != os.Getuid() && uid != 0:
		return fmt.Errorf("expected a process of user %d, got one of user %d", os.Getuid(), uid)
	case supervisor == 0:
		return fmt.Errorf("expected the supervisor among the peers: processes below it may not connect")
	}
	for pid > 1 && pid != supervisor {
		parent, err := parentOf(pid)
		if err != nil {
			return err
		}
		pid = parent
	}
	if pid == supervisor {
		return fmt.Errorf("expected one of %v, or a process that the supervisor, %d, has not started", r.Roles, supervisor)
	}
	return nil
}

func readPeers(file string) (map[string]int, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the engine's command line names it
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	if err := json.Unmarshal(content, &pids); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return pids, nil
}

// parentOf reads /proc/PID/stat (proc(5)); the command's name, in parentheses, may contain anything.
func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(proc + strconv.Itoa(pid) + "/stat") //nolint:gosec // a number below /proc
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0, fmt.Errorf("expected to see who has started it, got a /proc that hides process %d: mount it without "+
			"hidepid, or with gid= for a group of this user (systemd: ProtectProc=default)", pid)
	}
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/stat: expected a parent, got %q", pid, stat)
	}
	return strconv.Atoi(string(fields[1]))
}

// checkAlive fails if the process that has connected has ended: its pid may belong to another one by now. A kernel before
// Linux 6.5 cannot report that.
func checkAlive(socket int) error {
	process, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the process has ended: %w", err)
	}
	defer func() { _ = unix.Close(process) }()
	ended := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
	if n, err := unix.Poll(ended, 0); err != nil || n > 0 {
		return errors.Join(errors.New("the process has ended"), err)
	}
	return nil
}
