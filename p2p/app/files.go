package app

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"

	"github.com/hearth-edge/hearth/keys"
)

const (
	tokenBytes = 32
	// maxFile bounds what Dial reads of any file.
	maxFile = 64 << 10
)

// info is the content of app.json.
type info struct {
	PeerID    peer.ID  `json:"peer_id"`
	Addresses []string `json:"addresses"`
	PID       int      `json:"pid"`
	// HTTP is host:port, where the device answers HTTP on a port.
	HTTP string `json:"http,omitempty"`
}

// writeInfo writes app.json and returns its path.
func writeInfo(dir, http string, id peer.ID, listeners []transport.Listener) (string, error) {
	in := info{PeerID: id, PID: os.Getpid(), HTTP: http}
	for _, l := range listeners {
		addr := l.Multiaddr().String()
		if l.Addr().Network() != "unix" {
			addr += "/p2p/" + id.String()
		}
		in.Addresses = append(in.Addresses, addr)
	}
	text, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, infoFile)
	return path, writeFile(path, append(text, '\n'))
}

// readInfo reads app.json; it is an ErrNotRunning where there is none.
func readInfo(dir string) (info, error) {
	text, err := readFile(filepath.Join(dir, infoFile))
	if errors.Is(err, os.ErrNotExist) {
		return info{}, notRunning(dir)
	}
	if err != nil {
		return info{}, denied(dir, err)
	}
	var in info
	if err := json.Unmarshal(text, &in); err != nil {
		return info{}, fmt.Errorf("%s is not as hearth writes it; restart hearth: %w", filepath.Join(dir, infoFile), err)
	}
	return in, nil
}

// ensureToken reads the token or, the first time, makes it.
func ensureToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	token, err := readToken(dir)
	if errors.Is(err, os.ErrNotExist) {
		raw := make([]byte, tokenBytes)
		_, _ = rand.Read(raw) // never fails
		token = hex.EncodeToString(raw)
		return token, writeFile(path, []byte(token+"\n"))
	}
	return token, err
}

// readToken reads the token.
func readToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	text, err := keys.ReadPrivate(path)
	if err != nil {
		return "", denied(dir, err)
	}
	token := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != tokenBytes {
		return "", fmt.Errorf("%s does not hold a token; remove it and restart hearth, which makes a new one", path)
	}
	return token, nil
}

// readFile is os.ReadFile for small files.
func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("%s is far too big", path)
	}
	return os.ReadFile(path)
}

// writeFile puts a file that only its owner can read in place, whole or not at
// all, also where the power goes. The caller has the folder to itself.
func writeFile(path string, text []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// denied makes an error about permissions say whose the folder is.
func denied(dir string, err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	who := "its owner"
	if st, serr := os.Stat(dir); serr == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			who = userName(sys.Uid)
		}
	}
	return fmt.Errorf("the state folder %s belongs to another user; run this as %s, or name your own with --state: %w", dir, who, err)
}

// userName is the name of a user or, where it has none, the number.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// Ended reports whether no process has the state folder any more.
func Ended(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, denied(dir, err)
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// Lock takes the state folder for this process, until unlock is called or the
// process ends. It makes the folder if it is missing. It doesn't wait: where
// another process has it, the error names that one.
func Lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, denied(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, denied(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the state folder %s: %w", dir, err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder[:n])))
		return nil, fmt.Errorf("hearth is already running on the state folder %s (process %d); stop it, or give this one another folder with --state", dir, pid)
	}
	// Who holds the lock is for people only; that it could not be written is no
	// reason not to start.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return func() { _ = f.Close() }, nil
}
