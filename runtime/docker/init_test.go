package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

func TestInitFailure(t *testing.T) {
	const line = "[FATAL tini (7)] exec no-such failed: No such file or directory\n"
	for what, c := range map[string]struct {
		output, command string
		code            int
		reason          string
	}{
		"not there":           {line, "no-such", 127, "No such file or directory"},
		"on a terminal":       {strings.TrimSuffix(line, "\n") + "\r\n", "no-such", 127, "No such file or directory"},
		"may not":             {"[FATAL tini (6)] exec /bin failed: Permission denied\n", "/bin", 126, "Permission denied"},
		"too much":            {"[FATAL tini (6)] exec sh failed: Argument list too long\n", "sh", 1, "Argument list too long"},
		"control characters":  {"[FATAL tini (6)] exec a\x1b]0;b\nc failed: No such file or directory\n", "a\x1b]0;b\nc", 127, "No such file or directory"},
		"of a nested init":    {line, "/sbin/tini", 127, ""},
		"after other output":  {"hello\n" + line, "no-such", 127, ""},
		"before other output": {line + "hello\n", "no-such", 127, ""},
		"twice":               {line + line, "no-such", 127, ""},
		"another code":        {line, "no-such", 126, ""},
		"a code of its own":   {line, "no-such", 1, ""},
		"by init itself":      {strings.Replace(line, "7", "1", 1), "no-such", 127, ""},
		"nothing":             {"", "no-such", 127, ""},
	} {
		if reason, ok := initFailure(c.output, c.command, c.code); ok != (c.reason != "") || ok && reason != c.reason {
			t.Errorf("%s: %q, %t", what, reason, ok)
		}
	}
}

// frames writes pieces as the engine does, each with its channel before it.
func frames(pieces []string) *bytes.Buffer {
	var b bytes.Buffer
	for _, p := range pieces {
		b.Write(append([]byte{p[0] - '0', 0, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(p)-1))...))
		b.WriteString(p[1:])
	}
	return &b
}

func readInitless(pieces []string, ended error) (got [3]string, err error) {
	in := newReader(frames(pieces), io.NopCloser(nil), &sync.Pool{})
	in.ended = func() error { return ended }
	out := &initless{reader: in}
	for {
		c, data, err := out.Next()
		if err != nil {
			return got, err
		}
		got[c] += string(data)
	}
}

// TestInitless: all that a container writes comes, but for the line that the end
// tells in other words.
func TestInitless(t *testing.T) {
	const line = "2[FATAL tini (7)] exec no-such failed: No such file or directory\n"
	lost := errors.New("lost")
	for what, c := range map[string]struct {
		pieces         []string
		ended          error
		stdout, stderr string
	}{
		"never ran":             {[]string{line}, errNeverRan, "", ""},
		"never ran, in parts":   {[]string{"2[FATAL t", "2ini (7)] exec a", "2b failed: x\n"}, errNeverRan, "", ""},
		"never ran and silent":  {nil, errNeverRan, "", ""},
		"its own line":          {[]string{line}, io.EOF, "", line[1:]},
		"its own, and more":     {[]string{line, "2more", "1out"}, io.EOF, "out", line[1:] + "more"},
		"begins so":             {[]string{"2[FATAL ", "1out"}, io.EOF, "out", "[FATAL "},
		"begins otherwise":      {[]string{"1out", line}, io.EOF, "out", line[1:]},
		"connection lost":       {[]string{line}, lost, "", ""}, // it is read again
		"lost after other":      {[]string{"2x", line}, lost, "", "x" + line[1:]},
		"more than a line has":  {[]string{line[:20] + strings.Repeat("x", maxInitLine)}, io.EOF, "", line[1:20] + strings.Repeat("x", maxInitLine)},
		"output of a late word": {[]string{"2a", "1b", "2c"}, errNeverRan, "b", "ac"},
	} {
		got, err := readInitless(c.pieces, c.ended)
		want := c.ended
		if errors.Is(c.ended, io.EOF) {
			want = io.EOF
		}
		if err != want { //nolint:errorlint // io.EOF itself
			t.Errorf("%s: ended with %v", what, err)
		}
		if got[protocol.Stdout] != c.stdout || got[protocol.Stderr] != c.stderr {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// FuzzInitless: output that ends in order is passed on whole, unless it is taken
// for the init process's line; that begins as such.
func FuzzInitless(f *testing.F) {
	f.Add("[FATAL tini (7)] exec a failed: b\n", "", true)
	f.Add("[FATAL ", "tini (", false)
	f.Fuzz(func(t *testing.T, first, second string, neverRan bool) {
		ended := io.EOF
		if neverRan {
			ended = errNeverRan
		}
		pieces := []string{"2" + first, "2" + second}
		got, err := readInitless(pieces, ended)
		if err != io.EOF { //nolint:errorlint // io.EOF itself
			t.Fatal(err)
		}
		left, whole := got[protocol.Stderr], first+second
		if held := strings.TrimSuffix(whole, left); left != whole && (!neverRan || !strings.HasSuffix(whole, left) || !mayBeInit([]byte(held))) {
			t.Errorf("%q became %q", whole, left)
		}
		for _, code := range []int{1, 126, 127} {
			if reason, ok := initFailure(whole, second, code); ok && (reason == "" || !mayBeInit([]byte(whole))) {
				t.Errorf("%q of %q is taken for a failure of init", reason, whole)
			}
		}
	})
}

// TestForgedInitLine: what a program writes itself is its own, with its own exit
// code.
func TestForgedInitLine(t *testing.T) {
	runtimetest.BusyboxImage(t, engineImage)
	d := newTestDriver(t)
	spec := testSpec(engineImage, "sh", "-c", `echo "[FATAL tini (7)] exec other failed: No such file or directory" >&2; exit 127`)
	out := run(t, d, spec)
	if exit, err := d.Wait(testContext(t), spec.ID); err != nil || exit.Code != 127 {
		t.Errorf("%+v, %v", exit, err)
	}
	if text := output(t, out.Output); text != "[FATAL tini (7)] exec other failed: No such file or directory\n" {
		t.Errorf("output %q", text)
	}
}
