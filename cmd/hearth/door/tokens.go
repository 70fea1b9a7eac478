package door

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// TokensFile is the name of the file in the state folder that keeps the tokens
// made for others, by their hashes.
const TokensFile = "tokens.json"

const tokenBytes = 32

// A Token is what is known of one made for somebody.
type Token struct {
	Name string         `json:"name"`
	May  protocol.Right `json:"may"`
	// Created and Expires are by this device's clock. A zero Expires is never.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

// keptToken is a token as the file has it: the token itself is not kept.
type keptToken struct {
	Token
	Hash string `json:"hash"` // SHA-256, hexadecimal
}

// Tokens are the tokens of a device: that of its state folder, which may do all, and
// those made for others. Its methods may be used concurrently, also by several
// processes on one state folder: the device sees what `hearth token` changes.
type Tokens struct {
	owner string // the state folder's token; empty where only the file is managed
	path  string
	now   func() time.Time

	mu   sync.Mutex  // guards what follows
	seen fs.FileInfo // of the file that was read last; nil where there was none
	list []keptToken
}

// NewTokens returns the tokens of the device on a state folder, whose own token is
// owner. It reads the file when it is asked first.
func NewTokens(stateDir, owner string) *Tokens {
	return &Tokens{owner: owner, path: filepath.Join(stateDir, TokensFile), now: time.Now}
}

// Right returns what the holder of token may do: RightNone where the token is not
// known or has expired, or where the file cannot be read.
func (t *Tokens) Right(token string) protocol.Right {
	if t.owner != "" && subtle.ConstantTimeCompare([]byte(token), []byte(t.owner)) == 1 {
		return protocol.RightAll
	}
	k, _ := t.find(token)
	return k.May
}

// find returns the token made for somebody, unless it has expired.
func (t *Tokens) find(token string) (Token, bool) {
	hash := hashOf(token)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refresh() != nil {
		return Token{}, false
	}
	now := t.now()
	for _, k := range t.list { // what comparing hashes takes tells nothing of a token
		if k.Hash == hash && !k.expired(now) {
			return k.Token, true
		}
	}
	return Token{}, false
}

func (k *Token) expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// List returns the tokens that have not expired, by name.
func (t *Tokens) List() ([]Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(); err != nil {
		return nil, err
	}
	list := []Token{}
	for _, k := range t.current() {
		list = append(list, k.Token)
	}
	return list, nil
}

// current returns a copy of the tokens that have not expired; it is called with mu
// held.
func (t *Tokens) current() []keptToken {
	now := t.now()
	return slices.DeleteFunc(slices.Clone(t.list), func(k keptToken) bool { return k.expired(now) })
}

// New makes a token that lasts for ttl, or until it is revoked where ttl is 0. The
// token is returned this once. An *Error with CodeConflict says that the name is
// taken, with CodeInvalid that an argument does not do, with CodeOverloaded that
// there are too many.
func (t *Tokens) New(name string, may protocol.Right, ttl time.Duration) (made Token, token string, err error) {
	if err := checkTokenName(name); err != nil {
		return made, "", err
	}
	if may < protocol.RightRead || may > protocol.RightAll {
		return made, "", protocol.Errorf(protocol.CodeInvalid, "may: it is missing: write read, run or all")
	}
	if ttl < 0 || ttl > maxTokenTTL {
		return made, "", protocol.Errorf(protocol.CodeInvalid, "a token lasts from 1s to %v, and not %v", maxTokenTTL, ttl)
	}
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails
	token = hex.EncodeToString(raw)
	err = t.change(func(list []keptToken) ([]keptToken, error) {
		if slices.ContainsFunc(list, func(k keptToken) bool { return k.Name == name }) {
			return nil, protocol.Errorf(protocol.CodeConflict, "there is a token named %s: choose another name, or revoke that one", name)
		}
		if len(list) >= maxTokens {
			return nil, protocol.Errorf(protocol.CodeOverloaded, "there are %d tokens, which is the most: revoke one", len(list))
		}
		now := t.now().UTC().Truncate(time.Second)
		made = Token{Name: name, May: may, Created: now}
		if ttl > 0 {
			made.Expires = now.Add(ttl)
		}
		return append(list, keptToken{made, hashOf(token)}), nil
	})
	if err != nil {
		return Token{}, "", err
	}
	return made, token, nil
}

func checkTokenName(name string) error {
	if name == "" || len(name) > maxTokenName {
		return protocol.Errorf(protocol.CodeInvalid, "a token's name has 1 to %d characters, this one has %d", maxTokenName, len(name))
	}
	if _, err := protocol.ParseRequestID(name); err != nil {
		return protocol.Errorf(protocol.CodeInvalid, "token name %q: it consists of letters, digits, '-', '_' and '.', and starts with a letter or a digit", name)
	}
	return nil
}

// Revoke ends a token; an *Error with CodeNotFound says that there is none of that
// name.
func (t *Tokens) Revoke(name string) error {
	return t.change(func(list []keptToken) ([]keptToken, error) {
		rest := slices.DeleteFunc(list, func(k keptToken) bool { return k.Name == name })
		if len(rest) == len(list) {
			return nil, protocol.Errorf(protocol.CodeNotFound, "there is no token named %q: see 'hearth token list'", name)
		}
		return rest, nil
	})
}

// change puts another list in the place of the file, whole or not at all. Nobody
// else changes it meanwhile.
func (t *Tokens) change(edit func([]keptToken) ([]keptToken, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := keys.PrivateFolder(filepath.Dir(t.path)); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	unlock, err := lockFile(t.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.refresh(); err != nil {
		return err
	}
	list, err := edit(t.current())
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(tokensJSON{list}, "", "  ")
	if err != nil {
		return err
	}
	if err := keys.ReplacePrivate(t.path, string(text)+"\n"); err != nil {
		return fmt.Errorf("keep the tokens: %w", err)
	}
	return t.refresh()
}

type tokensJSON struct {
	Tokens []keptToken `json:"tokens"`
}

// refresh reads the file if it is another one than was read last; it is called with
// mu held.
func (t *Tokens) refresh() error {
	info, err := os.Stat(t.path)
	if errors.Is(err, os.ErrNotExist) {
		t.seen, t.list = nil, nil
		return nil
	}
	if err != nil {
		return err
	}
	if t.seen != nil && os.SameFile(info, t.seen) && info.ModTime().Equal(t.seen.ModTime()) && info.Size() == t.seen.Size() {
		return nil
	}
	list, err := readTokens(t.path)
	if err != nil {
		return err
	}
	t.seen, t.list = info, list
	return nil
}

func readTokens(path string) ([]keptToken, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is not a file that only its owner can read; run: chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokensFile+1))
	if err != nil {
		return nil, err
	}
	var file tokensJSON
	if err := json.Unmarshal(text, &file); err != nil || len(text) > maxTokensFile {
		return nil, fmt.Errorf("%s is not as hearth writes it; remove it, and make the tokens anew", path)
	}
	slices.SortFunc(file.Tokens, func(a, b keptToken) int { return strings.Compare(a.Name, b.Name) })
	return file.Tokens, nil
}

// lockFile waits until no other process has the lock.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
