// Package peers lets onto a Unix socket only the processes that have business there. All processes of a node run as one
// user, those that run policies too, so the mode of a socket does not tell them apart; the kernel's word for who has
// connected (unix(7), SO_PEERCRED) does.
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

	"golang.org/x/sys/unix"
)

// The roles of a node's processes, as the supervisor's file has them.
const (
	Supervisor = "supervisor"
	Envoy      = "envoy"
)

var proc = "/proc/" // proc(5)

// Rule says who may connect. File is the supervisor's peers.json: the pids of a node's processes by role, {"envoy": 7}.
type Rule struct {
	File  string
	Roles []string
	// Outside admits what is not below the supervisor: commands of the same user, or of root. What a policy has started
	// is below it, for the supervisor adopts what has lost its parent.
	Outside bool
}

// refusal is why the process at the other end may not connect, nil if it may. Its pid is 0 where it is unknown.
func (r Rule) refusal(connection *net.UnixConn) (pid int, why error) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { pid, why = r.check(int(fd)) })
	return pid, errors.Join(failed, why)
}

func (r Rule) check(socket int) (pid int, why error) {
	peer, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	pid = int(peer.Pid)
	known, err := readPeers(r.File)
	if err != nil {
		return pid, err
	}
	if !slices.ContainsFunc(r.Roles, func(role string) bool { return known[role] == pid && pid != 0 }) {
		if err := r.checkOutside(pid, int(peer.Uid), known[Supervisor]); err != nil {
			return pid, err
		}
	}
	return pid, checkAlive(socket) // last: what was found above holds for the process that has connected, if it still runs
}

func (r Rule) checkOutside(pid, uid, supervisor int) error {
	switch {
	case !r.Outside:
		return fmt.Errorf("expected one of %v", r.Roles)
	case uid != os.Getuid() && uid != 0:
		return fmt.Errorf("expected a process of user %d, got one of user %d", os.Getuid(), uid)
	case supervisor == 0:
		return fmt.Errorf("expected the supervisor among the peers, for what is below it may not connect")
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
	content, err := os.ReadFile(file) //nolint:gosec // named by whoever starts the engine
	if err != nil {
		return nil, err
	}
	known := map[string]int{}
	if err := json.Unmarshal(content, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return known, nil
}

// parentOf reads /proc/PID/stat (proc(5)); the command's name, in parentheses, may hold anything.
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

// checkAlive fails where the process that has connected has ended: its pid may be another one's by now. A kernel before
// Linux 6.5 does not tell.
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
