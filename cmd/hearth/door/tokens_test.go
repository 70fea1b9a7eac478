package door

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func code(err error) protocol.Code { return protocol.CodeOf(err) }

// TestTokensSeenByOthers: what one process makes and revokes, another knows at once;
// the token itself is in no file.
func TestTokensSeenByOthers(t *testing.T) {
	dir := t.TempDir()
	device, command := NewTokens(dir, owner), NewTokens(dir, "")
	made, token, err := command.New("tv", protocol.RightRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "tv" || made.May != protocol.RightRead || !made.Expires.IsZero() || len(token) != 2*tokenBytes {
		t.Errorf("made %+v, %q", made, token)
	}
	if got := device.Right(token); got != protocol.RightRead {
		t.Errorf("the device knows the token as %v", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, TokensFile))
	if err != nil || strings.Contains(string(text), token) {
		t.Errorf("the file has the token itself, or cannot be read (%v)", err)
	}
	if info, err := os.Stat(filepath.Join(dir, TokensFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	for _, bad := range []string{"", "tv", token[:63], token + " ", strings.ToUpper(token), owner[:10]} {
		if got := device.Right(bad); got != protocol.RightNone {
			t.Errorf("token %q may %v", bad, got)
		}
	}
	if device.Right(owner) != protocol.RightAll || command.Right(owner) != protocol.RightNone || command.Right("") != protocol.RightNone {
		t.Error("the state folder's own token is not what only the device knows")
	}
	if err := command.Revoke("tv"); err != nil {
		t.Fatal(err)
	}
	if got := device.Right(token); got != protocol.RightNone {
		t.Errorf("the token that was revoked may %v", got)
	}
	if list, err := device.List(); err != nil || len(list) != 0 {
		t.Errorf("still listed: %v, %v", list, err)
	}
}

// TestTokensExpire: an expired token lets nobody in, is not listed, and leaves its
// name to another.
func TestTokensExpire(t *testing.T) {
	tokens := NewTokens(t.TempDir(), owner)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tokens.now = func() time.Time { return now }
	_, token, err := tokens.New("tv", protocol.RightRun, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour - time.Nanosecond)
	if got := tokens.Right(token); got != protocol.RightRun {
		t.Errorf("before its end it may %v", got)
	}
	now = now.Add(time.Nanosecond)
	if got := tokens.Right(token); got != protocol.RightNone {
		t.Errorf("at its end it may %v", got)
	}
	if list, err := tokens.List(); err != nil || len(list) != 0 {
		t.Errorf("listed: %v, %v", list, err)
	}
	if _, _, err := tokens.New("tv", protocol.RightRead, 0); err != nil {
		t.Errorf("the name is not free: %v", err)
	}
}

// TestTokensRefused: what does not do is said with its code, and changes nothing.
func TestTokensRefused(t *testing.T) {
	tokens := NewTokens(t.TempDir(), owner)
	if _, _, err := tokens.New("tv", protocol.RightRead, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		name string
		may  protocol.Right
		ttl  time.Duration
		want protocol.Code
	}{
		"the same name":     {"tv", protocol.RightRead, 0, protocol.CodeConflict},
		"no name":           {"", protocol.RightRead, 0, protocol.CodeInvalid},
		"a path":            {"../x", protocol.RightRead, 0, protocol.CodeInvalid},
		"control character": {"a\x1bb", protocol.RightRead, 0, protocol.CodeInvalid},
		"too long":          {strings.Repeat("n", maxTokenName+1), protocol.RightRead, 0, protocol.CodeInvalid},
		"no right":          {"x", protocol.RightNone, 0, protocol.CodeInvalid},
		"more than all":     {"x", protocol.RightAll + 1, 0, protocol.CodeInvalid},
		"ended before":      {"x", protocol.RightRead, -1, protocol.CodeInvalid},
		"for ages":          {"x", protocol.RightRead, maxTokenTTL + 1, protocol.CodeInvalid},
	} {
		if _, token, err := tokens.New(c.name, c.may, c.ttl); code(err) != c.want || token != "" {
			t.Errorf("%s: %v, %q", name, err, token)
		}
	}
	if err := tokens.Revoke("nobody"); code(err) != protocol.CodeNotFound {
		t.Errorf("revoked nobody's: %v", err)
	}
	if list, err := tokens.List(); err != nil || len(list) != 1 {
		t.Errorf("listed: %v, %v", list, err)
	}
}

// TestTokensBounded: there are only so many, and revoking one makes room.
func TestTokensBounded(t *testing.T) {
	tokens := NewTokens(t.TempDir(), owner)
	kept := tokensJSON{}
	for i := range maxTokens {
		kept.Tokens = append(kept.Tokens, keptToken{Token{Name: "t" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), May: protocol.RightRead}, hashOf("x")})
	}
	writeTokens(t, tokens.path, kept)
	if _, _, err := tokens.New("one-more", protocol.RightRead, 0); code(err) != protocol.CodeOverloaded {
		t.Errorf("one more: %v", err)
	}
	if err := tokens.Revoke("ta"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tokens.New("one-more", protocol.RightRead, 0); err != nil {
		t.Errorf("after one was revoked: %v", err)
	}
}

// TestTokensDamaged: a file that hearth did not write, or that others can read, lets
// nobody in, and is said to be so instead of overwritten.
func TestTokensDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"no JSON":        {"tokens", 0o600},
		"another right":  {`{"tokens":[{"name":"a","may":"write","hash":""}]}`, 0o600},
		"others read it": {`{"tokens":[]}`, 0o644},
		"far too long":   {`{"tokens":[` + strings.Repeat(" ", maxTokensFile) + `]}`, 0o600},
	} {
		tokens := NewTokens(t.TempDir(), owner)
		if err := os.WriteFile(tokens.path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if tokens.Right("anything") != protocol.RightNone || tokens.Right(owner) != protocol.RightAll {
			t.Errorf("%s: it changes who may do what", name)
		}
		if _, _, err := tokens.New("x", protocol.RightRead, 0); err == nil || code(err) != protocol.CodeInternal {
			t.Errorf("%s: a token was made: %v", name, err)
		}
		if text, err := os.ReadFile(tokens.path); err != nil || string(text) != c.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// TestTokensAtOnce: several processes that make tokens lose none.
func TestTokensAtOnce(t *testing.T) {
	dir := t.TempDir()
	const each = 5
	var all sync.WaitGroup
	for _, who := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			tokens := NewTokens(dir, "")
			for i := range each {
				if _, _, err := tokens.New(who+strings.Repeat("x", i), protocol.RightRead, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, err := NewTokens(dir, owner).List(); err != nil || len(list) != 4*each {
		t.Errorf("%d tokens of %d are there, %v", len(list), 4*each, err)
	}
}

// FuzzTokensFile: whatever the file holds, nobody is let in by what it does not say.
func FuzzTokensFile(f *testing.F) {
	f.Add([]byte(`{"tokens":[{"name":"a","may":"read","created":"2026-01-01T00:00:00Z","hash":"00"}]}`))
	f.Add([]byte(`{"tokens":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tokens := NewTokens(t.TempDir(), owner)
		if err := os.WriteFile(tokens.path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if right := tokens.Right("token"); right != protocol.RightNone && !strings.Contains(string(text), hashOf("token")) {
			t.Errorf("let in with %v", right)
		}
	})
}
